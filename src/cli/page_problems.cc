#include "src/cli/page_problems.h"

#include <algorithm>

#include "src/cli/exit_code.h"

namespace sluice::cli {

void PageProblems::add(const std::string& page, const Error& error) {
  list_.push_back({{"page", page}, {"error", error.text}});
  const Exit exit = error.code == Errc::io_error ? Exit::failed : Exit::negative;
  exit_code_ = std::max(exit_code_, static_cast<int>(exit));
}

void PageProblems::print() const {
  for (const auto& problem : list_) {
    fmt::print("{}: {}\n", problem["page"].get<std::string>(), problem["error"].get<std::string>());
  }
}

}  // namespace sluice::cli
