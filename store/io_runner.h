// The seam to threads: runs blocking work elsewhere and reports back to the one who owns the state.
//
// Not a scheduler: lanes are all that orders work. Real threads are io_threads.h; tests run the
// steps one at a time in a seeded order. Called by the owner's thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

namespace sluice::store {

// Work of one lane keeps its order as said; between lanes there is none.
enum class Lane : uint8_t {
  prepare,  // CPU only: copies and checksums of what will be written; one at a time, in order
  write,    // writes and syncs; one at a time, in order
  read,     // several at once, in any order
};

class IoRunner {
 public:
  virtual ~IoRunner() = default;

  // Runs `work` on the lane, then `done` on the owner's thread, never from within this call. Within
  // prepare and within write, `done` calls come in the order of the work. The queue is as long as
  // the caller makes it. A runner that stops may leave both out: then they are destroyed unrun.
  void run(Lane lane, std::function<void()> work, std::function<void()> done) {
    do_run(lane, std::move(work), std::move(done));
  }

 private:
  virtual void do_run(Lane lane, std::function<void()> work, std::function<void()> done) = 0;
};

}  // namespace sluice::store
