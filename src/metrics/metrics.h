// What the daemon measures, as plain values, and their Prometheus text (exposition format 0.0.4).
//
// Not where things are counted (the folders count in their own stats) and not a registry: who
// exports builds a list of families anew each time. No locks; one thread owns a histogram.
// Source: prometheus.io/docs/instrumenting/exposition_formats, prometheus.io/docs/practices/naming.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sluice::metrics {

// Durations in fixed buckets, from the time of a small request to the longest deadline.
class Histogram {
 public:
  static constexpr auto kBoundsSeconds = std::to_array<double>(
      {5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, .01, .025, .05, .1, .25, .5, 1, 2.5, 10});

  void record_ns(uint64_t ns);

  uint64_t count() const;

  double sum_seconds() const { return sum_seconds_; }

  // Of durations in (bound[index - 1], bound[index]]; the last index is for those above all bounds.
  uint64_t count_at(size_t index) const { return counts_[index]; }

 private:
  std::array<uint64_t, kBoundsSeconds.size() + 1> counts_{};
  double sum_seconds_ = 0;
};

enum class Kind : uint8_t { counter, gauge, histogram };

struct Label {
  std::string name;
  std::string value;
};

struct Sample {
  std::vector<Label> labels;  // few values each: every combination is a time series for ever
  double value = 0;           // of counters and gauges
  Histogram histogram;        // of histograms
};

// One metric: its name carries the unit, and _total if it only rises.
struct Family {
  std::string name;
  std::string help;
  Kind kind = Kind::counter;
  std::vector<Sample> samples;
};

// The text that a scrape answers. Requires: each name once.
std::string prometheus_text(std::span<const Family> families);

}  // namespace sluice::metrics
