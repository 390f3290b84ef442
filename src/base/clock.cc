#include "src/base/clock.h"

#include <chrono>

namespace sluice {

uint64_t SteadyClock::do_now_ns() const {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace sluice
