// The memory of this machine, as far as this process may use it.
#pragma once

#include <cstdint>

namespace sluice {

inline constexpr uint64_t kNoMemoryLimit = UINT64_MAX;

struct MachineMemory {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;           // without swapping, as the kernel guesses
  uint64_t limit_bytes = kNoMemoryLimit;  // of the control group

  // What can ever be used.
  uint64_t usable_bytes() const { return total_bytes < limit_bytes ? total_bytes : limit_bytes; }
};

// Zeros where /proc does not say.
MachineMemory machine_memory();

}  // namespace sluice
