#include "src/daemon/log_value.h"

#include <algorithm>

namespace sluice::daemon {
namespace {

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

}  // namespace

std::string log_value(std::string_view text) {
  std::string out(text);
  const bool is_word = !out.empty() && std::none_of(out.begin(), out.end(), [](char c) {
    return c == ' ' || c == '"' || c == '\\' || c == '=' || is_control(c);
  });
  if (is_word) {
    return out;
  }
  std::replace(out.begin(), out.end(), '"', '\'');
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '\\' || is_control(c); }, '?');
  return '"' + out + '"';
}

}  // namespace sluice::daemon
