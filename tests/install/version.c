#include <sluice.h>
#include <stdio.h>

int main(void) {
  sluice_client* client = NULL;
  const char* stats = NULL;
  if (sluice_abi_version() != SLUICE_ABI_VERSION) return 1;
  if (sluice_client_open("/nonexistent/sluice.sock", 100, &client) != SLUICE_OK) return 2;
  if (sluice_stats(client, &stats) != SLUICE_CONNECTION_LOST) return 3;
  if (sluice_last_error()[0] == '\0') return 4;
  sluice_client_free(client);
  puts(sluice_version());
  return 0;
}
