#include "src/daemon/counters.h"

#include <string_view>

#include "src/base/version.h"
#include "src/daemon/metric_page.h"

namespace sluice::daemon {
namespace {

using cache::PageCacheStats;
using cache::ProfileStats;
using cache::TierGets;
using metrics::Label;
using store::DiskTierStats;
using store::RamTierStats;

// A counter or gauge of a stats struct. Those of a tier get its name: a prefix in STATS, a label in
// /metrics.
template <class Stats>
struct Row {
  std::string_view stat;
  std::string_view metric;
  uint64_t Stats::*value;
  std::string_view cause{};  // a label; empty: none
};

constexpr Row<PageCacheStats> kCacheRows[] = {
    {"lookup_pages", "sluice_lookup_pages_total", &PageCacheStats::lookup_pages},
    {"lookup_hit_pages", "sluice_lookup_hit_pages_total", &PageCacheStats::lookup_hit_pages},
    {"puts_unchanged", "sluice_puts_unchanged_total", &PageCacheStats::puts_unchanged},
    {"puts_refused", "sluice_puts_refused_total", &PageCacheStats::puts_refused},
    {"damage_reports", "sluice_damage_reports_total", &PageCacheStats::damage_reports},
    {"promoted", "sluice_promoted_pages_total", &PageCacheStats::promoted},
};

constexpr Row<ProfileStats> kProfileRows[] = {
    {"profiles", "sluice_profiles", &ProfileStats::profiles},
    {"profile_bytes", "sluice_profile_bytes", &ProfileStats::bytes},
    {"profiles_forgotten", "sluice_profiles_forgotten_total", &ProfileStats::forgotten},
};

// Of each tier. What the tiers count by themselves are reads: several GETs may share one.
constexpr Row<TierGets> kGetRows[] = {
    {"hits", "sluice_tier_hits_total", &TierGets::hits},
    {"misses", "sluice_tier_misses_total", &TierGets::misses},
};

constexpr Row<RamTierStats> kRamRows[] = {
    {"capacity_bytes", "sluice_tier_capacity_bytes", &RamTierStats::capacity_bytes},
    {"bytes", "sluice_tier_bytes", &RamTierStats::bytes},
    {"reserved_bytes", "sluice_ram_reserved_bytes", &RamTierStats::reserved_bytes},
    {"held_bytes", "sluice_ram_held_bytes", &RamTierStats::held_bytes},
    {"pages", "sluice_tier_pages", &RamTierStats::records},
    {"damaged", "sluice_tier_damaged_total", &RamTierStats::damaged},
    {"stored", "sluice_ram_stored_total", &RamTierStats::stored},
    {"replaced", "sluice_ram_replaced_total", &RamTierStats::replaced},
    {"deleted", "sluice_tier_deleted_total", &RamTierStats::erased},
    {"evicted_orphans", "sluice_tier_evicted_total", &RamTierStats::evicted_orphans, "orphan"},
    {"evicted_leaves", "sluice_tier_evicted_total", &RamTierStats::evicted_leaves, "leaf"},
    {"refused", "sluice_tier_refused_total", &RamTierStats::refused, "no_space"},
};

constexpr Row<DiskTierStats> kDiskRows[] = {
    {"capacity_bytes", "sluice_tier_capacity_bytes", &DiskTierStats::capacity_bytes},
    {"bytes", "sluice_tier_bytes", &DiskTierStats::log_bytes},
    {"pages", "sluice_tier_pages", &DiskTierStats::records},
    {"page_bytes", "sluice_disk_page_bytes", &DiskTierStats::page_bytes},
    {"segments", "sluice_disk_segments", &DiskTierStats::segments},
    {"queued_bytes", "sluice_disk_queued_bytes", &DiskTierStats::queued_bytes},
    {"reads_in_flight", "sluice_disk_reads_in_flight", &DiskTierStats::reads_in_flight},
    {"damaged", "sluice_tier_damaged_total", &DiskTierStats::damaged},
    {"deleted", "sluice_tier_deleted_total", &DiskTierStats::erased},
    {"evicted", "sluice_tier_evicted_total", &DiskTierStats::evicted, "segment"},
    {"reads_overloaded", "sluice_tier_refused_total", &DiskTierStats::reads_overloaded, "reads"},
    {"read_errors", "sluice_disk_read_errors_total", &DiskTierStats::read_errors},
    {"written", "sluice_disk_written_records_total", &DiskTierStats::written},
    {"written_bytes", "sluice_disk_written_bytes_total", &DiskTierStats::written_bytes},
    {"dropped_writes",
     "sluice_disk_dropped_writes_total",
     &DiskTierStats::dropped_writes,
     "queue_full"},
    {"overloaded_writes",
     "sluice_disk_dropped_writes_total",
     &DiskTierStats::overloaded_writes,
     "overloaded"},
    {"refused_writes",
     "sluice_disk_dropped_writes_total",
     &DiskTierStats::refused_writes,
     "damaged"},
    {"failed_writes", "sluice_disk_dropped_writes_total", &DiskTierStats::failed_writes, "device"},
    {"dropped_segments", "sluice_disk_segments_dropped_total", &DiskTierStats::dropped_segments},
    {"failed_segments", "sluice_disk_segments_failed_total", &DiskTierStats::failed_segments},
    {"syncs", "sluice_disk_syncs_total", &DiskTierStats::syncs},
};

// What the cache counts of the disk tier.
constexpr Row<PageCacheStats> kDiskCacheRows[] = {
    {"too_large_writes",
     "sluice_disk_dropped_writes_total",
     &PageCacheStats::too_large_writes,
     "too_large"},
};

template <class Stats, size_t n>
void add_rows(const Row<Stats> (&rows)[n],
              const Stats& stats,
              std::string_view tier,
              MetricPage& page) {
  for (const Row<Stats>& row : rows) {
    std::vector<Label> labels;
    if (row.metric.starts_with("sluice_tier_")) {
      labels.push_back({"tier", std::string(tier)});
    }
    if (!row.cause.empty()) {
      labels.push_back({"cause", std::string(row.cause)});
    }
    page.add(row.metric, std::move(labels), static_cast<double>(stats.*row.value));
  }
}

// Which refusals are misses, and the causes that dashboards count on from the start.
void add_refusals(const RequestStats& requests, MetricPage& page) {
  std::map<std::pair<Op, Errc>, uint64_t> refused = requests.refused;
  refused.try_emplace({Op::get, Errc::not_found}, 0);
  refused.try_emplace({Op::get, Errc::damaged}, 0);
  refused.try_emplace({Op::put, Errc::no_space}, 0);
  for (const auto& [what, count] : refused) {
    const auto& [op, code] = what;
    const Label cause{"cause", std::string(errc_name(code))};
    const double value = static_cast<double>(count);
    if (op == Op::get) {
      page.add("sluice_misses_total", {cause}, value);
    } else {
      const std::string name(kOpNames[static_cast<size_t>(op)]);
      page.add("sluice_refused_total", {{"op", name}, cause}, value);
    }
  }
}

void add_requests(const RequestStats& requests, MetricPage& page) {
  for (size_t i = 0; i < kOpNames.size(); ++i) {
    page.add("sluice_request_seconds", {{"op", std::string(kOpNames[i])}}, requests.seconds[i]);
  }
  add_refusals(requests, page);
  const std::pair<std::string_view, uint64_t> kBytes[] = {
      {"sluice_get_page_bytes_total", requests.get_page_bytes},
      {"sluice_put_page_bytes_total", requests.put_page_bytes},
      {"sluice_put_tensor_bytes_total", requests.put_tensor_bytes},
  };
  for (const auto& [metric, bytes] : kBytes) {
    page.add(metric, {}, static_cast<double>(bytes));
  }
}

template <class Stats, size_t n>
void list_rows(const Row<Stats> (&rows)[n],
               const Stats& stats,
               std::string_view prefix,
               std::vector<std::pair<std::string, uint64_t>>& out) {
  for (const Row<Stats>& row : rows) {
    out.emplace_back(std::string(prefix) + std::string(row.stat), stats.*row.value);
  }
}

}  // namespace

std::vector<std::pair<std::string, uint64_t>> stat_list(const DaemonStats& stats) {
  std::vector<std::pair<std::string, uint64_t>> out;
  out.emplace_back("connections", stats.connections);
  list_rows(kCacheRows, stats.cache, "", out);
  list_rows(kProfileRows, stats.cache.profiles, "", out);
  list_rows(kGetRows, stats.cache.ram_gets, "ram_", out);
  list_rows(kRamRows, stats.cache.ram, "ram_", out);
  if (stats.cache.disk) {
    list_rows(kGetRows, stats.cache.disk_gets, "disk_", out);
    list_rows(kDiskRows, *stats.cache.disk, "disk_", out);
    list_rows(kDiskCacheRows, stats.cache, "disk_", out);
  }
  return out;
}

std::vector<metrics::Family> metric_families(const DaemonStats& stats) {
  MetricPage page;
  page.add("sluice_build_info", {{"version", kVersion}}, 1.0);
  page.add("sluice_start_time_seconds", {}, stats.start_seconds);
  page.add("sluice_connections", {}, static_cast<double>(stats.connections));
  add_requests(stats.requests, page);
  add_rows(kCacheRows, stats.cache, "", page);
  add_rows(kProfileRows, stats.cache.profiles, "", page);
  add_rows(kGetRows, stats.cache.ram_gets, "ram", page);
  add_rows(kRamRows, stats.cache.ram, "ram", page);
  if (stats.cache.disk) {
    add_rows(kGetRows, stats.cache.disk_gets, "disk", page);
    add_rows(kDiskRows, *stats.cache.disk, "disk", page);
    add_rows(kDiskCacheRows, stats.cache, "disk", page);
  }
  return page.take();
}

}  // namespace sluice::daemon
