// Result<T>: a value or an Error; Status: success or an Error. Every fallible function returns one.
//
// An Error carries its code, where it was produced, and a sentence for people: what, where,
// expected and got, what to do. The sentence is built only on the error path. Ignoring a Result is
// a warning, which is an error here. Reading the value of a failed Result stops the process, in
// release too.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>

#include "src/base/errc.h"

namespace sluice {

struct [[nodiscard]] Error {
  Errc code = Errc::ok;
  std::string text;
  boost::source_location where;

  // "damaged: section 3 at offset 712: ... [codec/page.cc:88]"
  std::string to_string() const;
};

// A Result never throws: reading the value of an error is a broken invariant.
[[noreturn]] void throw_exception_from_error(const Error& error,
                                             const boost::source_location& where);

template <class T>
class [[nodiscard]] Result : public boost::system::result<T, Error> {
 public:
  using boost::system::result<T, Error>::result;
};

using Status = Result<void>;

// Stops the process with the failed condition and its place; for SLUICE_ASSERT.
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace sluice

// An Error of `code` with a fmt-style sentence: return SLUICE_ERR(Errc::truncated, "...", ...).
#define SLUICE_ERR(code, ...)                                  \
  ::sluice::Error {                                            \
    (code), ::fmt::format(__VA_ARGS__), BOOST_CURRENT_LOCATION \
  }

#define SLUICE_CONCAT_(a, b) a##b
#define SLUICE_CONCAT(a, b) SLUICE_CONCAT_(a, b)

// Returns the error of a Status or Result expression to the caller.
#define SLUICE_CHECK(expression)                                        \
  do {                                                                  \
    if (auto sluice_check_ = (expression); sluice_check_.has_error()) { \
      return std::move(sluice_check_).error();                          \
    }                                                                   \
  } while (false)

// SLUICE_TRY(auto value, f()): value = *f(), or returns f()'s error to the caller.
#define SLUICE_TRY(declaration, expression) \
  SLUICE_TRY_(declaration, expression, SLUICE_CONCAT(sluice_try_, __LINE__))
#define SLUICE_TRY_(declaration, expression, name) \
  auto name = (expression);                        \
  if (name.has_error()) {                          \
    return std::move(name).error();                \
  }                                                \
  declaration = *std::move(name)

// A broken invariant of ours stops the process, in release too. Nothing from disk, network or a
// caller may reach one.
#define SLUICE_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::sluice::assertion_failed(#condition, __FILE__, __LINE__))
