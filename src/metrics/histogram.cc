#include <algorithm>
#include <numeric>

#include "src/metrics/metrics.h"

namespace sluice::metrics {

void Histogram::record_ns(uint64_t ns) {
  const double seconds = static_cast<double>(ns) * 1e-9;
  const auto* bound = std::lower_bound(kBoundsSeconds.begin(), kBoundsSeconds.end(), seconds);
  counts_[static_cast<size_t>(bound - kBoundsSeconds.begin())] += 1;
  sum_seconds_ += seconds;
}

uint64_t Histogram::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0});
}

}  // namespace sluice::metrics
