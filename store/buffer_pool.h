// Aligned buffers that are used again: fresh memory of a page costs more than reading it in, a page
// fault for each 4 KiB.
//
// Any thread; buffers may be dropped after the pool ended.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "store/block_device.h"

namespace sluice::store {

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  // Keeps up to `idle_bytes_max` for the next one who asks: what came back last.
  explicit BufferPool(uint64_t idle_bytes_max) : idle_bytes_max_(idle_bytes_max) {}

  // A buffer of `bytes` or more, up to twice as many; not zeroed. It comes back when it is dropped.
  std::shared_ptr<AlignedBuffer> take(uint64_t bytes);

  // Of all buffers that were taken and not dropped yet.
  uint64_t taken_bytes() const;

 private:
  void give_back(AlignedBuffer buffer);

  const uint64_t idle_bytes_max_;
  mutable std::mutex mutex_;
  std::deque<AlignedBuffer> idle_;  // the longest idle one first
  uint64_t idle_bytes_ = 0;
  uint64_t taken_bytes_ = 0;
};

}  // namespace sluice::store
