// The daemon's counters by name: as STATS answers them, and as /metrics does. The names are a
// promise to dashboards; docs/operations.md lists those of /metrics.
//
// Not where things are counted: the tiers, the cache and the service do that. Pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/base/errc.h"
#include "src/cache/page_cache.h"
#include "src/metrics/metrics.h"
#include "store/disk_tier.h"

namespace sluice::daemon {

// What clients ask for, in the order of transport::RequestEvent's variant; a GET counts once a
// page.
enum class Op : uint8_t {
  hello,
  open,
  lookup,
  damaged,
  erase,
  stats,
  get_profile,
  put_profile,
  get,
  put
};

inline constexpr auto kOpNames = std::to_array<std::string_view>({"hello",
                                                                  "open",
                                                                  "lookup",
                                                                  "damaged",
                                                                  "delete",
                                                                  "stats",
                                                                  "get_profile",
                                                                  "put_profile",
                                                                  "get",
                                                                  "put"});

// What the service counts.
struct RequestStats {
  // Until the answer, from when the daemon has what it needs: of a PUT, its last byte.
  std::array<metrics::Histogram, kOpNames.size()> seconds;
  std::map<std::pair<Op, Errc>, uint64_t> refused;
  uint64_t get_page_bytes = 0;    // of pages sent
  uint64_t put_page_bytes = 0;    // of PUTs that were begun, encoded ...
  uint64_t put_tensor_bytes = 0;  // ... and the KV tensors that these stand for

  metrics::Histogram& seconds_of(Op op) { return seconds[static_cast<size_t>(op)]; }
};

struct DaemonStats {
  double start_seconds = 0;  // since 1970
  uint64_t connections = 0;
  RequestStats requests;
  cache::PageCacheStats cache;
};

// What STATS answers.
std::vector<std::pair<std::string, uint64_t>> stat_list(const DaemonStats& stats);

// What /metrics answers.
std::vector<metrics::Family> metric_families(const DaemonStats& stats);

}  // namespace sluice::daemon
