// The lanes of io_runner.h on real threads: one for prepare, one for write, some for reads.
//
// Owned and called by one thread; `post` brings each `done` to it, and is called from the lanes'
// threads. Ends by letting each thread finish the work it is in; what still waits is destroyed
// unrun.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "store/io_runner.h"

namespace sluice::store {

class IoThreads final : public IoRunner {
 public:
  using Post = std::function<void(std::function<void()>)>;

  // Requires: read_threads is 1 to 64; `post` may be called until this object ends.
  IoThreads(Post post, uint32_t read_threads);

  ~IoThreads() override;
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

 private:
  class Pool;

  void do_run(Lane lane, std::function<void()> work, std::function<void()> done) override;

  Post post_;
  std::unique_ptr<Pool> prepare_;
  std::unique_ptr<Pool> write_;
  std::unique_ptr<Pool> read_;
};

}  // namespace sluice::store
