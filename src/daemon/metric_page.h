// The metrics of one scrape: which there are, with their help texts, and the samples of each.
#pragma once

#include <string_view>
#include <vector>

#include "src/metrics/metrics.h"

namespace sluice::daemon {

class MetricPage {
 public:
  MetricPage();

  // Adds a sample. Requires: the table in the .cc has `metric`.
  void add(std::string_view metric, std::vector<metrics::Label> labels, double value);
  void add(std::string_view metric,
           std::vector<metrics::Label> labels,
           const metrics::Histogram& histogram);

  // Those that have a sample, in the table's order. Leaves the page empty.
  std::vector<metrics::Family> take();

 private:
  metrics::Sample& add_sample(std::string_view metric, std::vector<metrics::Label> labels);

  std::vector<metrics::Family> families_;
};

}  // namespace sluice::daemon
