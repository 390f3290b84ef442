// Work that other threads bring to one that owns some state.
//
// Where the owner has a loop of its own (a server), that is told of each piece and runs what there
// is; where it has none, run_until() waits for what is still on its way.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

namespace sluice {

class Mailbox {
 public:
  // Any thread.
  void post(std::function<void()> work);

  // What each post() calls, on the poster's thread; nothing: nobody. When this returns, the one
  // from before is no longer running. Any thread.
  void set_wake(std::function<void()> wake);

  // Runs what was posted, in order. The owner's thread.
  void run_all();

  // Runs what is posted until `is_over()`, at most `wait_ms`; whether it is. The owner's thread.
  bool run_until(const std::function<bool()>& is_over, uint64_t wait_ms);

 private:
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> work_;  // bounded by those who post
  std::function<void()> wake_;
};

}  // namespace sluice
