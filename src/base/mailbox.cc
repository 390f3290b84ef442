#include "src/base/mailbox.h"

#include <chrono>
#include <utility>

namespace sluice {

void Mailbox::post(std::function<void()> work) {
  std::lock_guard lock(mutex_);
  work_.push_back(std::move(work));
  posted_.notify_one();
  if (wake_) {
    wake_();
  }
}

void Mailbox::set_wake(std::function<void()> wake) {
  std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

void Mailbox::run_all() {
  std::unique_lock lock(mutex_);
  std::deque<std::function<void()>> now = std::exchange(work_, {});
  lock.unlock();
  for (const std::function<void()>& work : now) {
    work();
  }
}

bool Mailbox::run_until(const std::function<bool()>& is_over, uint64_t wait_ms) {
  const auto ends = std::chrono::steady_clock::now() + std::chrono::milliseconds(wait_ms);
  while (!is_over()) {
    std::unique_lock lock(mutex_);
    if (!posted_.wait_until(lock, ends, [this] { return !work_.empty(); })) {
      return false;
    }
    lock.unlock();
    run_all();
  }
  return true;
}

}  // namespace sluice
