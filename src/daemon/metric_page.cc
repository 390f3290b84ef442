#include "src/daemon/metric_page.h"

#include <algorithm>
#include <utility>

#include "src/base/result.h"

namespace sluice::daemon {
namespace {

using metrics::Kind;

struct Help {
  std::string_view metric;
  std::string_view text;
};

// Every metric, in the order of the page.
constexpr Help kHelp[] = {
    {"sluice_build_info", "1, with the version as a label."},
    {"sluice_start_time_seconds", "When the daemon started, in seconds since 1970."},
    {"sluice_connections", "Client connections that are open."},
    {"sluice_request_seconds", "Time from a request that is there whole to its answer."},
    {"sluice_refused_total", "Requests that were answered with an error, GETs not counted."},
    {"sluice_misses_total", "Pages that a GET asked for and did not get."},
    {"sluice_get_page_bytes_total", "Bytes of pages sent to clients."},
    {"sluice_put_page_bytes_total", "Bytes of pages that PUTs made room for, encoded."},
    {"sluice_put_tensor_bytes_total", "Bytes of the KV tensors that these pages stand for."},
    {"sluice_lookup_pages_total", "Page keys that lookups asked for."},
    {"sluice_lookup_hit_pages_total", "Pages that lookups found and a reader needs."},
    {"sluice_puts_unchanged_total", "Pages taken whose equal or better was there."},
    {"sluice_puts_refused_total", "Pages that came and were not what their PUT said."},
    {"sluice_damage_reports_total", "Pages that clients reported as damaged."},
    {"sluice_promoted_pages_total", "Pages that came from disk into RAM."},
    {"sluice_profiles", "Profiles that pages may be coded with."},
    {"sluice_profile_bytes", "Bytes of these, and of what came of others."},
    {"sluice_profiles_forgotten_total",
     "Profiles that had to go for others: their pages may miss."},
    {"sluice_tier_capacity_bytes", "What the tier may hold."},
    {"sluice_tier_bytes", "What the tier holds, overhead included."},
    {"sluice_tier_pages", "Pages in the tier."},
    {"sluice_tier_hits_total", "GETs of a page that the tier answered."},
    {"sluice_tier_misses_total", "GETs of a page that the tier was asked for and did not answer."},
    {"sluice_tier_damaged_total", "Pages that no longer agreed with their checksums, taken out."},
    {"sluice_tier_deleted_total", "Pages taken out because somebody asked."},
    {"sluice_tier_evicted_total", "Pages taken out to make room."},
    {"sluice_tier_refused_total", "What the tier had no room for."},
    {"sluice_ram_reserved_bytes", "RAM of PUTs on their way."},
    {"sluice_ram_held_bytes", "RAM of pages that only readers still hold."},
    {"sluice_ram_stored_total", "Pages stored under a new key."},
    {"sluice_ram_replaced_total", "Pages stored over a worse one."},
    {"sluice_disk_page_bytes", "Bytes of the pages that the log still serves."},
    {"sluice_disk_segments", "Segments of the log."},
    {"sluice_disk_queued_bytes", "Bytes that wait to be written."},
    {"sluice_disk_reads_in_flight", "Reads on their way: most wait for a thread."},
    {"sluice_disk_read_errors_total", "Reads that the device failed."},
    {"sluice_disk_written_records_total",
     "Writes that are in the log: pages, cuts, DELETEs, one each."},
    {"sluice_disk_written_bytes_total", "Bytes written to the device."},
    {"sluice_disk_dropped_writes_total", "Writes that are not in the log, or not any more."},
    {"sluice_disk_segments_dropped_total",
     "Segments taken away: the oldest to make room, or one given up empty."},
    {"sluice_disk_segments_failed_total",
     "Segments given up after the device failed a write or a sync."},
    {"sluice_disk_syncs_total", "Syncs of the log's files and of its folder."},
};

// What only rises says so in its name, times of requests are all histograms.
Kind kind_of(std::string_view metric) {
  if (metric.ends_with("_total")) {
    return Kind::counter;
  }
  return metric == "sluice_request_seconds" ? Kind::histogram : Kind::gauge;
}

}  // namespace

MetricPage::MetricPage() {
  for (const Help& help : kHelp) {
    families_.push_back({.name = std::string(help.metric),
                         .help = std::string(help.text),
                         .kind = kind_of(help.metric)});
  }
}

metrics::Sample& MetricPage::add_sample(std::string_view metric,
                                        std::vector<metrics::Label> labels) {
  const auto family = std::find_if(
      families_.begin(), families_.end(), [&](const auto& f) { return f.name == metric; });
  SLUICE_ASSERT(family != families_.end());
  metrics::Sample& sample = family->samples.emplace_back();
  sample.labels = std::move(labels);
  return sample;
}

void MetricPage::add(std::string_view metric, std::vector<metrics::Label> labels, double value) {
  add_sample(metric, std::move(labels)).value = value;
}

void MetricPage::add(std::string_view metric,
                     std::vector<metrics::Label> labels,
                     const metrics::Histogram& histogram) {
  add_sample(metric, std::move(labels)).histogram = histogram;
}

std::vector<metrics::Family> MetricPage::take() {
  std::erase_if(families_, [](const metrics::Family& family) { return family.samples.empty(); });
  return std::exchange(families_, {});
}

}  // namespace sluice::daemon
