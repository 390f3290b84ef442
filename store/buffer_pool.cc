#include "store/buffer_pool.h"

#include <algorithm>

namespace sluice::store {

std::shared_ptr<AlignedBuffer> BufferPool::take(uint64_t bytes) {
  bytes = round_up_to_block(bytes);
  AlignedBuffer found;
  {
    std::scoped_lock lock(mutex_);
    auto fits = [&](const AlignedBuffer& buffer) {
      return buffer.size() >= bytes && buffer.size() <= 2 * bytes;
    };
    auto at = std::find_if(idle_.rbegin(), idle_.rend(), fits);
    if (at != idle_.rend()) {
      found = std::move(*at);
      idle_bytes_ -= found.size();
      idle_.erase(std::next(at).base());
    }
    taken_bytes_ += std::max(found.size(), bytes);
  }
  if (found.size() == 0) {
    found = AlignedBuffer(bytes);
  }
  auto give_back = [pool = weak_from_this()](AlignedBuffer* buffer) {
    if (auto alive = pool.lock()) {
      alive->give_back(std::move(*buffer));
    }
    delete buffer;
  };
  return {new AlignedBuffer(std::move(found)), give_back};
}

uint64_t BufferPool::taken_bytes() const {
  std::scoped_lock lock(mutex_);
  return taken_bytes_;
}

// The longest idle ones go for it: a size that nobody asks for any more does not stay.
void BufferPool::give_back(AlignedBuffer buffer) {
  std::scoped_lock lock(mutex_);
  taken_bytes_ -= buffer.size();
  if (buffer.size() > idle_bytes_max_) {
    return;
  }
  idle_bytes_ += buffer.size();
  idle_.push_back(std::move(buffer));
  while (idle_bytes_ > idle_bytes_max_) {
    idle_bytes_ -= idle_.front().size();
    idle_.pop_front();
  }
}

}  // namespace sluice::store
