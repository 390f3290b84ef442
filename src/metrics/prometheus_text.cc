#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <utility>

#include "src/metrics/metrics.h"

namespace sluice::metrics {
namespace {

prometheus::MetricType type_of(Kind kind) {
  switch (kind) {
    case Kind::counter:
      return prometheus::MetricType::Counter;
    case Kind::gauge:
      return prometheus::MetricType::Gauge;
    case Kind::histogram:
      break;
  }
  return prometheus::MetricType::Histogram;
}

prometheus::ClientMetric::Histogram convert(const Histogram& histogram) {
  prometheus::ClientMetric::Histogram out;
  out.sample_sum = histogram.sum_seconds();
  out.sample_count = histogram.count();
  uint64_t so_far = 0;
  for (size_t i = 0; i < Histogram::kBoundsSeconds.size(); ++i) {
    so_far += histogram.count_at(i);
    out.bucket.push_back({.cumulative_count = so_far, .upper_bound = Histogram::kBoundsSeconds[i]});
  }
  out.bucket.push_back({.cumulative_count = out.sample_count,
                        .upper_bound = std::numeric_limits<double>::infinity()});
  return out;
}

prometheus::ClientMetric convert(const Sample& sample, Kind kind) {
  prometheus::ClientMetric out;
  for (const Label& label : sample.labels) {
    out.label.push_back({.name = label.name, .value = label.value});
  }
  switch (kind) {
    case Kind::counter:
      out.counter.value = sample.value;
      break;
    case Kind::gauge:
      out.gauge.value = sample.value;
      break;
    case Kind::histogram:
      out.histogram = convert(sample.histogram);
      break;
  }
  return out;
}

}  // namespace

std::string prometheus_text(std::span<const Family> families) {
  std::vector<prometheus::MetricFamily> out;
  for (const Family& family : families) {
    prometheus::MetricFamily& converted = out.emplace_back();
    converted.name = family.name;
    converted.help = family.help;
    converted.type = type_of(family.kind);
    for (const Sample& sample : family.samples) {
      converted.metric.push_back(convert(sample, family.kind));
    }
  }
  return prometheus::TextSerializer().Serialize(out);
}

}  // namespace sluice::metrics
