#include <sluice.h>
#include <stdio.h>

int main(void) {
  sluice_client* client = NULL;
  if (sluice_abi_version() != SLUICE_ABI_VERSION) return 1;
  if (sluice_connect("/nonexistent/sluice.sock", 100, &client) != SLUICE_CONNECTION_LOST) return 2;
  if (sluice_last_error()[0] == '\0' || client != NULL) return 3;
  puts(sluice_version());
  return 0;
}
