#include "src/base/machine_memory.h"

#include <charconv>
#include <fstream>
#include <limits>
#include <string>

namespace sluice {
namespace {

// The number behind `key` in /proc/meminfo, in bytes.
uint64_t memory_info(std::string_view key) {
  std::ifstream file("/proc/meminfo");
  std::string name;
  uint64_t kib = 0;
  while (file >> name >> kib) {
    if (name == key) {
      return kib << 10;
    }
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

// The control group's limit, of either version; none is written by version 1 as the largest number
// of whole pages.
uint64_t memory_limit() {
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    std::string text;
    std::getline(file, text);
    uint64_t bytes = 0;
    auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), bytes);
    if (problem == std::errc{} && end != text.data()) {
      return bytes < kNoMemoryLimit / 4 ? bytes : kNoMemoryLimit;
    }
  }
  return kNoMemoryLimit;
}

}  // namespace

MachineMemory machine_memory() {
  return {.total_bytes = memory_info("MemTotal:"),
          .available_bytes = memory_info("MemAvailable:"),
          .limit_bytes = memory_limit()};
}

}  // namespace sluice
