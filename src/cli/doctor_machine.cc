// Kernel, CPU, memory, limits, clock.
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <fstream>

#include "src/base/clock.h"
#include "src/base/machine_memory.h"
#include "src/base/units.h"
#include "src/cli/doctor.h"

namespace sluice::cli {
namespace {

// Debian 12's is 6.1; what is older than these is not tested.
constexpr int kKernelMajor = 5;
constexpr int kKernelMinor = 15;
constexpr uint64_t kMemoryMin = 1ull << 30;  // the default of ram.capacity
constexpr uint64_t kFilesMin = 1024;         // 256 connections, 512 segments of the log, room
constexpr uint64_t kClockReadNsMax = 500;
constexpr int kYearMin = 2024;

// The first line of a file of the kernel's; "" where there is none.
std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

Finding judge_kernel(const std::string& release) {
  int major = 0;
  int minor = 0;
  const char* const end = release.data() + release.size();
  const auto [dot, no_major] = std::from_chars(release.data(), end, major);
  const bool read = no_major == std::errc() && dot != end && *dot == '.' &&
                    std::from_chars(dot + 1, end, minor).ec == std::errc();
  Finding out{.name = "kernel",
              .found = "Linux " + release,
              .expected = fmt::format("Linux {}.{} or newer", kKernelMajor, kKernelMinor)};
  if (!read || major < kKernelMajor || (major == kKernelMajor && minor < kKernelMinor)) {
    out.status = Health::warn;
    out.what_to_do = "Install a newer kernel: Sluice is tested on 6.1 and newer.";
  }
  return out;
}

Finding judge_cpu(bool avx2, bool avx512) {
  // codec/kernels.h: the vector kernels need AVX2 and use no more.
  return {.name = "cpu",
          .status = Health::ok,
          .found = fmt::format("{}; the codec uses its {} code",
                               avx512 ? "AVX2 and AVX-512" : (avx2 ? "AVX2" : "no AVX2"),
                               avx2 ? "AVX2" : "scalar"),
          .expected = "any 64-bit CPU"};
}

Finding judge_memory(uint64_t available_bytes,
                     uint64_t limit_bytes,
                     const std::string& huge_pages) {
  const uint64_t usable = std::min(available_bytes, limit_bytes);
  Finding out{.name = "memory",
              .found = fmt::format("{} available", format_bytes(available_bytes)),
              .expected = fmt::format("{}, the default of ram.capacity", format_bytes(kMemoryMin))};
  if (limit_bytes != kNoMemoryLimit) {
    out.found += fmt::format(", control group limited to {}", format_bytes(limit_bytes));
  }
  if (!huge_pages.empty()) {
    out.found += "; transparent huge pages: " + huge_pages;
  }
  if (usable < kMemoryMin) {
    out.status = Health::warn;
    out.what_to_do = fmt::format("Start sluiced with --ram below {}, or give it more memory.",
                                 format_bytes(usable));
  }
  return out;
}

Finding judge_open_files(uint64_t files) {
  Finding out{.name = "open_files",
              .found = files == RLIM_INFINITY ? "unlimited" : std::to_string(files),
              .expected = fmt::format("{} or more", kFilesMin)};
  if (files < kFilesMin) {
    out.status = Health::warn;
    out.what_to_do = "Set LimitNOFILE=65536 in the service, or ulimit -Hn 65536.";
  }
  return out;
}

Finding judge_clock(const std::string& source, uint64_t read_ns, int year) {
  Finding out{
      .name = "clock",
      .found = fmt::format(
          "{}, {} ns a reading, year {}", source.empty() ? "unknown" : source, read_ns, year),
      .expected =
          fmt::format("readings below {} ns, a year from {} on", kClockReadNsMax, kYearMin)};
  if (year < kYearMin) {
    out.status = Health::fail;
    out.what_to_do = "Set the clock (timedatectl set-ntp true): log and metrics carry its time.";
  } else if (read_ns > kClockReadNsMax) {
    out.status = Health::warn;
    out.what_to_do =
        "Boot with a clock source that needs no system call (tsc, kvm-clock): every request reads "
        "the clock.";
  }
  return out;
}

void check_kernel(const DoctorOptions&, Findings& out) {
  utsname name{};
  uname(&name);
  out.push_back(judge_kernel(name.release));
}

void check_cpu(const DoctorOptions&, Findings& out) {
#if defined(__x86_64__)
  out.push_back(judge_cpu(
      __builtin_cpu_supports("avx2") != 0,
      __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0));
#else
  out.push_back(judge_cpu(false, false));
#endif
}

void check_memory(const DoctorOptions&, Findings& out) {
  const MachineMemory memory = machine_memory();
  out.push_back(judge_memory(memory.available_bytes,
                             memory.limit_bytes,
                             first_line("/sys/kernel/mm/transparent_hugepage/enabled")));
}

void check_open_files(const DoctorOptions&, Findings& out) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  out.push_back(judge_open_files(limit.rlim_max));  // sluiced raises the soft limit to it
}

void check_clock(const DoctorOptions&, Findings& out) {
  constexpr uint64_t kReadings = 1000;
  SteadyClock clock;
  const uint64_t start = clock.now_ns();
  uint64_t end = start;
  for (uint64_t i = 0; i < kReadings; ++i) {
    end = clock.now_ns();
  }
  const time_t now = time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  out.push_back(
      judge_clock(first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
                  (end - start) / kReadings,
                  parts.tm_year + 1900));
}

}  // namespace sluice::cli
