// Which bytes of a range are free: best fit, neighbours joined when they are given back.
//
// Not memory: offsets only (arena.h puts memory under them). One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace sluice::store {

class ExtentMap {
 public:
  explicit ExtentMap(uint64_t capacity_bytes) { give(0, capacity_bytes); }

  // Takes `bytes` from the smallest free run that holds them, the lowest of equals; nothing where
  // no run does. Requires: bytes > 0.
  std::optional<uint64_t> take(uint64_t bytes);

  // Gives back what take() returned. Requires: all of it is taken.
  void give(uint64_t offset, uint64_t bytes);

  uint64_t free_bytes() const { return free_bytes_; }

 private:
  using Run = std::map<uint64_t, uint64_t>::iterator;

  void add(uint64_t offset, uint64_t bytes);
  void drop(Run run);

  std::map<uint64_t, uint64_t> by_offset_;           // offset, bytes
  std::set<std::pair<uint64_t, uint64_t>> by_size_;  // bytes, offset
  uint64_t free_bytes_ = 0;
};

}  // namespace sluice::store
