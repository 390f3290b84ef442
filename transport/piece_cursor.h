// Walks over bytes that lie in several pieces of memory, without copying them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "src/base/bytes.h"

namespace sluice::transport {

inline uint64_t total_bytes(std::span<const ByteSpan> pieces) {
  uint64_t total = 0;
  for (ByteSpan piece : pieces) {
    total += piece.size();
  }
  return total;
}

class PieceCursor {
 public:
  // Memory: `pieces` and what they point to must outlive the cursor.
  explicit PieceCursor(std::span<const ByteSpan> pieces) : pieces_(pieces) {}

  // Appends views of the next n bytes to `out`. Requires: n bytes are left.
  void take(uint64_t n, std::vector<ByteSpan>& out) {
    while (n > 0) {
      ByteSpan rest = pieces_[index_].subspan(offset_);
      auto part = rest.first(static_cast<size_t>(std::min<uint64_t>(n, rest.size())));
      if (!part.empty()) {
        out.push_back(part);
      }
      n -= part.size();
      offset_ += part.size();
      if (offset_ == pieces_[index_].size()) {
        ++index_;
        offset_ = 0;
      }
    }
  }

 private:
  std::span<const ByteSpan> pieces_;
  size_t index_ = 0;
  size_t offset_ = 0;
};

}  // namespace sluice::transport
