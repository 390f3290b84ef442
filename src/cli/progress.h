// A progress bar on standard error for work that takes a while. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/clock.h"
#include "src/cli/output.h"

namespace sluice::cli {

enum class ProgressUnit { pages, bytes };

struct ProgressState {
  std::string label;
  ProgressUnit unit = ProgressUnit::pages;
  uint64_t total = 0;       // of the unit
  uint64_t done = 0;        // of the unit
  uint64_t moved = 0;       // bytes
  uint64_t elapsed_ns = 0;  // since the start
};

// "get    [#####---------------]  26%  12/45 pages  85 MiB/s  0:12 left".
std::string progress_line(const ProgressState& state);

// Drawn only where standard error is a terminal, and never with --json or --quiet; not before
// kFirstNs, so that short work leaves no trace; taken off the screen at the end.
class Progress {
 public:
  Progress(const OutputOptions& output, std::string label, ProgressUnit unit, uint64_t total);

  ~Progress() { finish(); }

  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Takes the bar off the screen, for what is printed next.
  void finish();

  // For a total that is known late.
  void set_total(uint64_t total) { state_.total = total; }

  // So much of the total is done, which took `moved` bytes in all.
  void set(uint64_t done, uint64_t moved);

  // One page more, of so many bytes.
  void add_page(uint64_t bytes) { set(state_.done + 1, state_.moved + bytes); }

 private:
  static constexpr uint64_t kFirstNs = 300'000'000;
  static constexpr uint64_t kStepNs = 100'000'000;

  SteadyClock clock_;
  bool on_;
  bool drawn_ = false;
  uint64_t start_ns_;
  uint64_t next_ns_;
  ProgressState state_;
};

}  // namespace sluice::cli
