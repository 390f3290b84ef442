#include "store/loss_lines.h"

#include <utility>

namespace sluice::store {

namespace {

constexpr uint64_t kPauseNs = 1'000'000'000;

std::string text_of(const LostWrites& lost) {
  return fmt::format("{} pages of {} bytes, {} deletes and {} cuts",
                     lost.pages,
                     lost.bytes,
                     lost.deletes,
                     lost.cuts);
}

}  // namespace

LostWrites& LostWrites::operator+=(const LostWrites& more) {
  pages += more.pages;
  bytes += more.bytes;
  deletes += more.deletes;
  cuts += more.cuts;
  return *this;
}

std::optional<std::string> LossLines::failed(const LostWrites& lost,
                                             std::string_view where,
                                             const Error& error,
                                             uint64_t now_ns) {
  unsaid_ += lost;
  sum_ += lost;
  const bool is_news = !is_failing_ || error.code != last_code_;
  if (!is_news && now_ns - last_line_ns_ < kPauseNs) {
    return {};
  }
  is_failing_ = true;
  last_line_ns_ = now_ns;
  last_code_ = error.code;
  return fmt::format(
      "{} was not written: {}; not in the log: {}; pages are served from RAM until it needs the "
      "room, what was deleted may be back after a restart; {}",
      where,
      error.to_string(),
      text_of(std::exchange(unsaid_, {})),
      error.code == Errc::no_space ? "make room on that file system"
                                   : "look at the kernel's log (dmesg) and mend the disk");
}

std::optional<std::string> LossLines::taken() {
  if (!std::exchange(is_failing_, false)) {
    return {};
  }
  unsaid_ = {};
  return fmt::format("the log takes writes again; not in it since it did not: {}",
                     text_of(std::exchange(sum_, {})));
}

}  // namespace sluice::store
