// Crashes on inputs that begin with "sluice": a fuzzer that does not find this finds nothing.
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= 6 && std::memcmp(data, "sluice", 6) == 0) {
    std::abort();
  }
  return 0;
}
