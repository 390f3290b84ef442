#include "store/buffer_pool.h"

#include <algorithm>

namespace sluice::store {

std::shared_ptr<AlignedBuffer> BufferPool::take(uint64_t bytes) {
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

void BufferPool::give_back(AlignedBuffer buffer) {
  std::scoped_lock lock(mutex_);
  if (idle_bytes_ + buffer.size() <= idle_bytes_max_) {
    idle_bytes_ += buffer.size();
    idle_.push_back(std::move(buffer));
  }
}

}  // namespace sluice::store
