#include "src/cli/exit_code.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <nlohmann/json.hpp>

namespace sluice::cli {

Exit exit_for(Errc code) {
  switch (code) {
    case Errc::ok:
      return Exit::good;
    case Errc::not_found:
    case Errc::damaged:
      return Exit::negative;
    case Errc::invalid_argument:
      return Exit::usage;
    case Errc::connection_lost:
    case Errc::timed_out:
    case Errc::draining:
    case Errc::overloaded:
      return Exit::unreachable;
    default:
      return Exit::failed;
  }
}

int report_error(const Error& error, bool json) {
  const int code = static_cast<int>(exit_for(error.code));
  if (json) {
    nlohmann::json out = {{"error", errc_name(error.code)}, {"text", error.text}, {"exit", code}};
    std::fprintf(
        stderr, "%s\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    std::fprintf(stderr, "sluice: %s\n", error.text.c_str());
  }
  return code;
}

int finish_output(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) {
    return code;
  }
  std::fprintf(stderr, "sluice: cannot write the answer: %s\n", std::strerror(errno));
  return static_cast<int>(Exit::failed);
}

}  // namespace sluice::cli
