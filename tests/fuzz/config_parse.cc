// Property: any text gives a configuration within its ranges, or a bad_config that names the file.
#include <string_view>

#include "src/daemon/config.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Result<daemon::Config> config = daemon::parse_config(text, "fuzz.toml");
  if (config.has_value()) {
    SLUICE_ASSERT(config->validate().has_value());
  } else {
    SLUICE_ASSERT(config.error().code == Errc::bad_config && !config.error().text.empty());
  }
  return 0;
}
