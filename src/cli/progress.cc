#include "src/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "src/base/units.h"

namespace sluice::cli {
namespace {

constexpr size_t kBarCells = 20;

std::string duration(uint64_t seconds) {
  if (seconds >= 3600) {
    return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }
  return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
}

std::string amount(const ProgressState& state) {
  return state.unit == ProgressUnit::pages
             ? fmt::format("{}/{} pages", state.done, state.total)
             : fmt::format("{}/{}", format_bytes(state.done), format_bytes(state.total));
}

}  // namespace

std::string progress_line(const ProgressState& state) {
  const double part =
      state.total == 0
          ? 1.0
          : std::min(1.0, static_cast<double>(state.done) / static_cast<double>(state.total));
  const auto cells = static_cast<size_t>(part * kBarCells);
  std::string line = fmt::format("{:<6} [{:#<{}}{:-<{}}] {:>3.0f}%  {}",
                                 state.label,
                                 "",
                                 cells,
                                 "",
                                 kBarCells - cells,
                                 part * 100,
                                 amount(state));
  const double seconds = static_cast<double>(state.elapsed_ns) / 1e9;
  if (seconds > 0 && state.moved > 0) {
    const auto rate = static_cast<uint64_t>(static_cast<double>(state.moved) / seconds);
    line += fmt::format("  {}/s", format_bytes(rate));
  }
  if (part > 0 && part < 1) {
    line += fmt::format("  {} left", duration(static_cast<uint64_t>(seconds / part * (1 - part))));
  }
  return line;
}

Progress::Progress(const OutputOptions& output,
                   std::string label,
                   ProgressUnit unit,
                   uint64_t total)
    : on_(!output.json && !output.quiet && isatty(STDERR_FILENO) == 1),
      start_ns_(clock_.now_ns()),
      next_ns_(start_ns_ + kFirstNs) {
  state_.label = std::move(label);
  state_.unit = unit;
  state_.total = total;
}

void Progress::finish() {
  if (drawn_) {
    std::fputs("\r\x1b[K", stderr);
  }
  on_ = drawn_ = false;
}

void Progress::set(uint64_t done, uint64_t moved) {
  state_.done = done;
  state_.moved = moved;
  if (!on_) {
    return;
  }
  const uint64_t now = clock_.now_ns();
  if (now < next_ns_) {
    return;
  }
  next_ns_ = now + kStepNs;
  state_.elapsed_ns = now - start_ns_;
  std::fprintf(stderr, "\r%s\x1b[K", progress_line(state_).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace sluice::cli
