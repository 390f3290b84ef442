#include "src/base/result.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace boost {

// Called by Boost when the value of an error is read (BOOST_ENABLE_ASSERT_HANDLER).
void assertion_failed(const char* expr, const char* function, const char* file, long line) {
  std::fprintf(
      stderr, "sluice: broken invariant '%s' in %s (%s:%ld)\n", expr, function, file, line);
  std::abort();
}

void assertion_failed_msg(
    const char* expr, const char* msg, const char* function, const char* file, long line) {
  std::fprintf(stderr,
               "sluice: broken invariant '%s': %s in %s (%s:%ld)\n",
               expr,
               msg,
               function,
               file,
               line);
  std::abort();
}

}  // namespace boost

namespace sluice {

std::string Error::to_string() const {
  std::string_view file = where.file_name();
  return fmt::format(
      "{}: {} [{}:{}]", errc_name(code), text, file.substr(file.rfind('/') + 1), where.line());
}

void throw_exception_from_error(const Error& error, const boost::source_location& where) {
  std::fprintf(stderr, "sluice: the value of an error was read: %s\n", error.to_string().c_str());
  assertion_failed(
      "Result::value() on an error", where.file_name(), static_cast<int>(where.line()));
}

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "sluice: broken invariant '%s' (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace sluice
