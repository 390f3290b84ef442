#include "store/io_threads.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "src/base/result.h"

namespace sluice::store {

// Threads that take work from one queue in its order.
class IoThreads::Pool {
 public:
  Pool(const Post& post, uint32_t threads) : post_(post) {
    for (uint32_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { run(); });
    }
  }

  ~Pool() {
    {
      std::scoped_lock lock(mutex_);
      is_stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void add(std::function<void()> work, std::function<void()> done) {
    {
      std::scoped_lock lock(mutex_);
      queue_.push_back({std::move(work), std::move(done)});
    }
    wake_.notify_one();
  }

 private:
  struct Item {
    std::function<void()> work;
    std::function<void()> done;
  };

  void run() {
    while (true) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return is_stopping_ || !queue_.empty(); });
      if (is_stopping_) {
        return;
      }
      Item item = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      item.work();
      item.work = nullptr;
      post_(std::move(item.done));
    }
  }

  const Post& post_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> queue_;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

IoThreads::IoThreads(Post post, uint32_t read_threads) : post_(std::move(post)) {
  SLUICE_ASSERT(read_threads >= 1 && read_threads <= 64);
  prepare_ = std::make_unique<Pool>(post_, 1);
  write_ = std::make_unique<Pool>(post_, 1);
  read_ = std::make_unique<Pool>(post_, read_threads);
}

IoThreads::~IoThreads() = default;

void IoThreads::do_run(Lane lane, std::function<void()> work, std::function<void()> done) {
  Pool& pool = lane == Lane::prepare ? *prepare_ : lane == Lane::write ? *write_ : *read_;
  pool.add(std::move(work), std::move(done));
}

}  // namespace sluice::store
