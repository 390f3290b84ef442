#include "src/daemon/counters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

namespace sluice::daemon {
namespace {

// Every number differs, so that no name can stand for another's value.
DaemonStats sample_stats() {
  DaemonStats stats{.start_seconds = 1.5e9, .connections = 3};
  stats.cache.lookup_pages = 10;
  stats.cache.lookup_hit_pages = 7;
  stats.cache.profiles = {.profiles = 2, .bytes = 300};
  stats.cache.ram = {.capacity_bytes = 1000, .bytes = 900, .evicted_leaves = 4};
  stats.cache.ram_gets = {.hits = 21, .misses = 13};
  stats.requests.put_page_bytes = 60;
  stats.requests.put_tensor_bytes = 75;
  stats.requests.refused[{Op::get, Errc::not_found}] = 5;
  stats.requests.refused[{Op::put, Errc::overloaded}] = 6;
  stats.requests.seconds_of(Op::lookup).record_ns(20'000);
  return stats;
}

std::set<std::string> names(const DaemonStats& stats) {
  std::set<std::string> out;
  for (const metrics::Family& family : metric_families(stats)) {
    EXPECT_TRUE(out.insert(family.name).second) << family.name << " twice";
  }
  return out;
}

TEST(Counters, StatsKeepTheirNames) {
  const auto stats = stat_list(sample_stats());
  const std::set<std::pair<std::string, uint64_t>> there(stats.begin(), stats.end());
  EXPECT_EQ(there.size(), 24u);
  for (const auto& stat : {std::pair{"connections", 3},
                           {"lookup_pages", 10},
                           {"lookup_hit_pages", 7},
                           {"profiles", 2},
                           {"profile_bytes", 300},
                           {"ram_capacity_bytes", 1000},
                           {"ram_bytes", 900},
                           {"ram_hits", 21},
                           {"ram_misses", 13},
                           {"ram_evicted_leaves", 4},
                           {"ram_deleted", 0}}) {
    EXPECT_TRUE(there.contains({stat.first, static_cast<uint64_t>(stat.second)})) << stat.first;
  }
}

TEST(Counters, TiersAreTakenApartByPrefixAndLabel) {
  DaemonStats stats = sample_stats();
  stats.cache.disk = store::DiskTierStats{.failed_writes = 2};
  stats.cache.disk_gets = {.hits = 8, .misses = 5};
  stats.cache.too_large_writes = 9;
  const auto list = stat_list(stats);
  EXPECT_EQ(std::count(list.begin(), list.end(), std::pair<std::string, uint64_t>("disk_hits", 8)),
            1);
  const std::string text = metrics::prometheus_text(metric_families(stats));
  for (const char* line : {"sluice_tier_hits_total{tier=\"ram\"} 21\n",
                           "sluice_tier_misses_total{tier=\"ram\"} 13\n",
                           "sluice_tier_hits_total{tier=\"disk\"} 8\n",
                           "sluice_tier_misses_total{tier=\"disk\"} 5\n",
                           "sluice_disk_dropped_writes_total{cause=\"too_large\"} 9\n",
                           "sluice_disk_dropped_writes_total{cause=\"device\"} 2\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(Counters, AreExportedWithTheirLabels) {
  const std::string text = metrics::prometheus_text(metric_families(sample_stats()));
  for (const char* line : {"sluice_start_time_seconds 1500000000\n",
                           "sluice_connections 3\n",
                           "sluice_lookup_hit_pages_total 7\n",
                           "sluice_tier_evicted_total{tier=\"ram\",cause=\"leaf\"} 4\n",
                           "sluice_put_tensor_bytes_total 75\n",
                           "sluice_misses_total{cause=\"not_found\"} 5\n",
                           "sluice_misses_total{cause=\"damaged\"} 0\n",
                           "sluice_refused_total{op=\"put\",cause=\"overloaded\"} 6\n",
                           "# TYPE sluice_request_seconds histogram\n",
                           "sluice_request_seconds_bucket{op=\"lookup\",le=\"5e-05\"} 1\n",
                           "sluice_request_seconds_count{op=\"delete\"} 0\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "is not in\n" << text;
  }
  EXPECT_EQ(text.find("sluice_disk"), std::string::npos) << "no disk tier, no metrics of one";
}

TEST(Counters, StatsAreThoseOfTheDocument) {
  std::ifstream file(SLUICE_SOURCE_DIR "/docs/cli.md");
  std::set<std::string> documented;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    inside = line.starts_with("## ") ? line == "## stat" : inside;
    const std::string cell =
        inside && line.starts_with("| `") ? line.substr(0, line.find(" |", 2)) : "";
    // Names stand between backquotes.
    for (size_t at = cell.find('`'); at != std::string::npos;) {
      const size_t end = cell.find('`', at + 1);
      EXPECT_TRUE(documented.insert(cell.substr(at + 1, end - at - 1)).second) << line;
      at = end == std::string::npos ? end : cell.find('`', end + 1);
    }
  }
  DaemonStats stats;
  stats.cache.disk.emplace();
  std::set<std::string> there;
  for (const auto& stat : stat_list(stats)) {
    there.insert(stat.first);
  }
  EXPECT_EQ(there, documented);
}

TEST(Counters, AreThoseOfTheDocument) {
  std::ifstream file(SLUICE_SOURCE_DIR "/docs/operations.md");
  std::set<std::string> documented;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| `sluice_")) {
      documented.insert(line.substr(3, line.find('`', 3) - 3));
    }
  }
  DaemonStats stats;
  stats.cache.disk.emplace();
  EXPECT_EQ(names(stats), documented);
}

}  // namespace
}  // namespace sluice::daemon
