// `sluice doctor`: what of this machine keeps Sluice from working well, and what to do.
//
// Each check looks at one thing and adds its findings; the table in doctor.cc lists the checks. The
// judge_* functions hold what is good, so that a test can ask about machines that are not here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/cli/output.h"
#include "src/cli/sequence.h"

namespace sluice::cli {

struct DoctorOptions {
  DaemonOptions daemon;
  std::string disk;                  // folder of the disk tier; "": not looked at
  uint64_t disk_capacity_bytes = 0;  // that is configured; 0: not looked at
};

enum class Health { ok, warn, fail };  // warn: works, with something given up

std::string_view health_name(Health health);

struct Finding {
  std::string name;  // stable, for tools
  Health status = Health::ok;
  std::string found;
  std::string expected;
  std::string what_to_do;  // one sentence; "" where all is well
};

using Findings = std::vector<Finding>;

// What the machine is (doctor_machine.cc).
void check_versions(const DoctorOptions& options, Findings& out);
void check_kernel(const DoctorOptions& options, Findings& out);
void check_cpu(const DoctorOptions& options, Findings& out);
void check_memory(const DoctorOptions& options, Findings& out);
void check_open_files(const DoctorOptions& options, Findings& out);
void check_clock(const DoctorOptions& options, Findings& out);

// Where the daemon is, and whether this user reaches it (doctor_socket.cc).
void check_socket(const DoctorOptions& options, Findings& out);

// The folder of a disk tier (doctor_disk.cc); nothing without one.
void check_disk(const DoctorOptions& options, Findings& out);

// release: of uname, e.g. "6.1.0-18-amd64".
Finding judge_kernel(const std::string& release);
Finding judge_cpu(bool avx2, bool avx512);
// limit_bytes: of the process's control group; UINT64_MAX for none. huge_pages: the kernel's text.
Finding judge_memory(uint64_t available_bytes, uint64_t limit_bytes, const std::string& huge_pages);
// files: the hard limit.
Finding judge_open_files(uint64_t files);
// read_ns: that one reading takes; year: that the wall clock shows.
Finding judge_clock(const std::string& source, uint64_t read_ns, int year);
Finding judge_daemon_version(const std::string& daemon);
// ram_bytes: what the daemon's RAM tier may take; usable_bytes: of this machine or control group.
Finding judge_daemon_memory(uint64_t ram_bytes, uint64_t usable_bytes);

// All checks of the table, in its order.
Findings examine(const DoctorOptions& options);

// Prints all findings; 1 where one is a fail.
Result<int> doctor(const DoctorOptions& options, const OutputOptions& output);

}  // namespace sluice::cli
