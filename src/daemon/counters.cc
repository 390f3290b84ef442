#include "src/daemon/counters.h"

namespace sluice::daemon {

std::vector<std::pair<std::string_view, uint64_t>> counters(const cache::PageCacheStats& stats,
                                                            uint64_t connections) {
  const store::RamTierStats& ram = stats.ram;
  return {
      {"connections", connections},
      {"lookup_pages", stats.lookup_pages},
      {"lookup_hit_pages", stats.lookup_hit_pages},
      {"puts_unchanged", stats.puts_unchanged},
      {"puts_refused", stats.puts_refused},
      {"damage_reports", stats.damage_reports},
      {"ram_capacity_bytes", ram.capacity_bytes},
      {"ram_bytes", ram.bytes},
      {"ram_reserved_bytes", ram.reserved_bytes},
      {"ram_held_bytes", ram.held_bytes},
      {"ram_pages", ram.records},
      {"ram_hits", ram.hits},
      {"ram_misses", ram.misses},
      {"ram_damaged", ram.damaged},
      {"ram_stored", ram.stored},
      {"ram_replaced", ram.replaced},
      {"ram_deleted", ram.erased},
      {"ram_evicted_orphans", ram.evicted_orphans},
      {"ram_evicted_leaves", ram.evicted_leaves},
      {"ram_refused", ram.refused},
  };
}

}  // namespace sluice::daemon
