// The daemon's counters by name, as STATS answers them. The names are a promise to dashboards.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "src/cache/page_cache.h"

namespace sluice::daemon {

std::vector<std::pair<std::string_view, uint64_t>> counters(const cache::PageCacheStats& stats,
                                                            uint64_t connections);

}  // namespace sluice::daemon
