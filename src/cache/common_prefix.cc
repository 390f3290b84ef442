#include "src/cache/common_prefix.h"

#include <algorithm>

namespace sluice::cache {

uint32_t leading_hits(const std::vector<bool>& hit) {
  return static_cast<uint32_t>(std::find(hit.begin(), hit.end(), false) - hit.begin());
}

uint32_t common_prefix(std::span<const GroupHits> groups) {
  if (groups.empty()) {
    return 0;
  }
  size_t pages = groups.front().hit.size();
  for (const GroupHits& group : groups) {
    pages = std::min(pages, group.hit.size());
  }
  // servable[c]: each group has what a prefix of c pages needs.
  std::vector<bool> servable(pages + 1, true);
  for (const GroupHits& group : groups) {
    uint32_t run = 0;  // hits that end before page c
    for (uint32_t c = 1; c <= pages; ++c) {
      run = group.hit[c - 1] ? run + 1 : 0;
      if (run < c - first_needed(group.window_pages, c)) {
        servable[c] = false;
      }
    }
  }
  while (!servable[pages]) {
    --pages;
  }
  return static_cast<uint32_t>(pages);
}

}  // namespace sluice::cache
