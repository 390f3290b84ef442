// Property: any text gives a configuration that is validated, or a bad_config that says why.
#include <string_view>

#include "src/daemon/config.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Result<daemon::Config> config = daemon::parse_config(text, "fuzz.toml");
  const Status status = config.has_value() ? config->validate() : Status(config.error());
  if (status.has_error()) {
    SLUICE_ASSERT(status.error().code == Errc::bad_config && !status.error().text.empty());
  }
  return 0;
}
