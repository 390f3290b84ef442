#include "src/cli/doctor.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "src/base/version.h"

namespace sluice::cli {
namespace {

using Check = void (*)(const DoctorOptions& options, Findings& out);

// A part that needs something of the machine adds its check here.
constexpr std::array<Check, 8> kChecks = {check_versions,
                                          check_kernel,
                                          check_cpu,
                                          check_memory,
                                          check_open_files,
                                          check_clock,
                                          check_socket,
                                          check_disk};

void print(const Finding& finding) {
  fmt::print("{:<4}  {:<15} {}\n", health_name(finding.status), finding.name, finding.found);
  if (finding.status != Health::ok) {
    fmt::print("      {:<15} expected: {}\n", "", finding.expected);
    fmt::print("      {:<15} {}\n", "", finding.what_to_do);
  }
}

nlohmann::json describe(const Finding& finding) {
  return {{"name", finding.name},
          {"status", health_name(finding.status)},
          {"found", finding.found},
          {"expected", finding.expected},
          {"what_to_do", finding.what_to_do}};
}

}  // namespace

std::string_view health_name(Health health) {
  switch (health) {
    case Health::ok:
      return "ok";
    case Health::warn:
      return "warn";
    case Health::fail:
      return "fail";
  }
  return "unknown";
}

void check_versions(const DoctorOptions&, Findings& out) {
  out.push_back({.name = "sluice",
                 .status = Health::ok,
                 .found = fmt::format("sluice {}", kVersion),
                 .expected = "a version"});
}

Findings examine(const DoctorOptions& options) {
  Findings out;
  for (Check check : kChecks) {
    check(options, out);
  }
  return out;
}

Result<int> doctor(const DoctorOptions& options, const OutputOptions& output) {
  const Findings findings = examine(options);
  const auto count = [&](Health health) {
    return std::count_if(findings.begin(), findings.end(), [&](const Finding& finding) {
      return finding.status == health;
    });
  };
  const bool good = count(Health::fail) == 0;
  if (output.json) {
    nlohmann::json checks = nlohmann::json::array();
    for (const Finding& finding : findings) {
      checks.push_back(describe(finding));
    }
    print_document({{"good", good}, {"version", kVersion}, {"checks", checks}});
    return good ? 0 : 1;
  }
  for (const Finding& finding : findings) {
    print(finding);
  }
  fmt::print("{} ok, {} to improve, {} to repair\n",
             count(Health::ok),
             count(Health::warn),
             count(Health::fail));
  return good ? 0 : 1;
}

}  // namespace sluice::cli
