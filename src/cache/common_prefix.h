// How much of a prefix all KV groups can serve. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sluice::cache {

// Which pages of one group are there, page i being the i-th of the prefix.
struct GroupHits {
  uint32_t window_pages = 0;  // 0: a prefix needs all its pages; else the last so many
  std::vector<bool> hit;
};

// The pages [first, end) that a prefix of `pages` pages needs of a group.
inline uint32_t first_needed(uint32_t window_pages, uint32_t pages) {
  return window_pages == 0 || window_pages > pages ? 0 : pages - window_pages;
}

// Hits from page 0 on, without a gap.
uint32_t leading_hits(const std::vector<bool>& hit);

// The most pages of a prefix for which each group has all that it needs; 0 for no groups.
// Complexity: linear in all pages.
uint32_t common_prefix(std::span<const GroupHits> groups);

}  // namespace sluice::cache
