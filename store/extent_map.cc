#include "store/extent_map.h"

#include <iterator>

#include "src/base/result.h"

namespace sluice::store {

std::optional<uint64_t> ExtentMap::take(uint64_t bytes) {
  auto fit = by_size_.lower_bound({bytes, 0});
  if (fit == by_size_.end()) {
    return std::nullopt;
  }
  auto [run_bytes, offset] = *fit;
  drop(by_offset_.find(offset));
  if (run_bytes > bytes) {
    add(offset + bytes, run_bytes - bytes);
  }
  return offset;
}

void ExtentMap::give(uint64_t offset, uint64_t bytes) {
  auto after = by_offset_.lower_bound(offset);
  SLUICE_ASSERT(after == by_offset_.end() || offset + bytes <= after->first);
  if (after != by_offset_.begin()) {
    auto before = std::prev(after);
    SLUICE_ASSERT(before->first + before->second <= offset);
    if (before->first + before->second == offset) {
      offset = before->first;
      bytes += before->second;
      drop(before);
    }
  }
  if (after != by_offset_.end() && offset + bytes == after->first) {
    bytes += after->second;
    drop(after);
  }
  add(offset, bytes);
}

void ExtentMap::add(uint64_t offset, uint64_t bytes) {
  by_offset_.emplace(offset, bytes);
  by_size_.emplace(bytes, offset);
  free_bytes_ += bytes;
}

void ExtentMap::drop(Run run) {
  free_bytes_ -= run->second;
  by_size_.erase({run->second, run->first});
  by_offset_.erase(run);
}

}  // namespace sluice::store
