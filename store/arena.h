// The memory of the RAM tier: one private mapping, cut into extents of any size.
//
// Not what lies in them (ram_tier.h). An extent goes back when its owner drops it; the mapping
// lives as long as any extent does. One thread.
#pragma once

#include <cstdint>
#include <memory>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "store/extent_map.h"

namespace sluice::store {

inline constexpr uint64_t kExtentAlign = 64;  // a cache line: no two records share one

class Arena;

// Bytes of the arena, the owner's until this object ends.
class Extent {
 public:
  Extent(std::shared_ptr<Arena> arena, MutByteSpan bytes);
  ~Extent();
  Extent(const Extent&) = delete;
  Extent& operator=(const Extent&) = delete;

  MutByteSpan bytes() { return bytes_; }

  ByteSpan bytes() const { return bytes_; }

  // Gives the end back. Requires: 0 < bytes <= bytes().size(); nobody looks at what goes.
  void shorten(uint64_t bytes);

 private:
  std::shared_ptr<Arena> arena_;
  MutByteSpan bytes_;
};

class Arena : public std::enable_shared_from_this<Arena> {
 public:
  // Maps `capacity_bytes` of private memory; the machine gives pages as they are first written.
  // Errors: bad_config (capacity 0 or no multiple of kExtentAlign), io_error (mmap refused).
  static Result<std::shared_ptr<Arena>> open(uint64_t capacity_bytes);

  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // What an extent of `bytes` takes from the arena.
  static uint64_t extent_bytes(uint64_t bytes) {
    return (bytes + kExtentAlign - 1) / kExtentAlign * kExtentAlign;
  }

  // An extent of exactly `bytes`, aligned to kExtentAlign; null where no free run is long enough.
  // Its first content is unspecified. Requires: bytes > 0.
  std::unique_ptr<Extent> allocate(uint64_t bytes);

  uint64_t capacity_bytes() const { return memory_.size(); }

  // Taken by extents, alignment included.
  uint64_t used_bytes() const { return memory_.size() - map_.free_bytes(); }

 private:
  friend class Extent;

  explicit Arena(MutByteSpan memory) : memory_(memory), map_(memory.size()) {}

  void free(ByteSpan bytes);

  MutByteSpan memory_;
  ExtentMap map_;
};

}  // namespace sluice::store
