// A log on a simulated device, written and recovered without tier and threads.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "src/base/clock.h"
#include "store/log_recovery.h"
#include "store/log_scan.h"
#include "tests/sim/sim_device.h"
#include "tests/store/sample_log.h"

namespace sluice::store {

inline constexpr uint32_t kLogDescriptorsMax = 16;

class Log {
 public:
  explicit Log(uint64_t seed = 1,
               uint64_t segment_bytes = 64 << 10,
               uint64_t capacity_bytes = 256 << 10)
      : device(seed), segment_bytes_(segment_bytes), capacity_bytes_(capacity_bytes) {
    Status status = open();
    EXPECT_TRUE(status.has_value()) << status.error().to_string();
  }

  // Recovers what is there and begins a writer behind it.
  Status open() {
    index = std::make_unique<DiskIndex>();
    report = {};
    SLUICE_TRY(RecoveredLog recovered, recover_log(device, kLogDescriptorsMax, *index, report));
    LogWriterConfig config;
    config.log_id = recovered.log_id.value_or(sample_log_id());
    config.capacity_bytes = capacity_bytes_;
    config.segment_bytes = segment_bytes_;
    config.next_number = recovered.next_number;
    config.segments = recovered.segments;
    config.last = recovered.last_whole;
    writer = std::make_unique<LogWriter>(config, device, clock);
    return {};
  }

  // Writes a batch and takes its report over as the tier does.
  WriteReport write(LogBatch& batch, const WriteOptions& options) {
    WriteReport done = writer->write(batch, options);
    for (const OpenedSegment& opened : done.opened) {
      index->add_segment(opened.number, opened.file);
    }
    for (const FailedSegment& failed : done.failed) {
      index->fail_segment(failed.number, failed.durable_sequence);
      if (failed.is_removed) {
        index->drop_segment(failed.number);
      }
    }
    for (const DroppedSegment& dropped : done.dropped) {
      index->drop_segment(dropped.number);
    }
    for (const BatchRecord& record : batch.records()) {
      if (done.status.has_value() && record.entry.type == EntryType::page) {
        index->insert(record.entry, done.durable_sequence);
      }
    }
    return done;
  }

  WriteReport put(const Sample& page, const WriteOptions& options = {.sync = true}) {
    LogBatch batch{AlignedBuffer()};
    EXPECT_TRUE(batch.add(EntryType::page, page.record, page.bytes).has_value());
    return write(batch, options);
  }

  WriteReport erase(std::vector<RecordId> keys) {
    LogBatch batch{AlignedBuffer()};
    batch.add_tombstone(keys);
    return write(batch, {.sync = true});
  }

  WriteReport seal() {
    LogBatch batch{AlignedBuffer()};
    return write(batch, {.seal = true});
  }

  // The page as it can be read now, or the error.
  Result<Bytes> read(const Key& key, uint32_t tenant = 0) {
    const IndexEntry* entry = index->find(tenant, key);
    if (entry == nullptr) {
      return SLUICE_ERR(Errc::not_found, "not in the index");
    }
    uint64_t bytes = *entry->segment->file->size();
    FileWindow window(*entry->segment->file, bytes, 0);
    LogPlace place{sample_log_id(), entry->segment->number, entry->log.offset};
    SLUICE_TRY(ScannedRecord record, read_record(window, place));
    return Bytes(record.body.begin(), record.body.end());
  }

  bool has(const Sample& page) {
    auto bytes = read(page.record.key, page.record.tenant);
    return bytes.has_value() && *bytes == page.bytes;
  }

  SimContent& file(uint64_t number) { return *device.files().at(segment_name(number)); }

  bool says(const std::string& words) const {
    return std::any_of(report.lines.begin(), report.lines.end(), [&](const std::string& line) {
      return line.find(words) != std::string::npos;
    });
  }

  std::string lines() const {
    std::string out;
    for (const std::string& line : report.lines) {
      out += line + "\n";
    }
    return out;
  }

  SimDevice device;
  ManualClock clock;
  std::unique_ptr<DiskIndex> index;
  std::unique_ptr<LogWriter> writer;
  RecoveryReport report;

 private:
  uint64_t segment_bytes_;
  uint64_t capacity_bytes_;
};

// Page number `i`: 9000 bytes, so that three blocks a record.
inline Sample page_of(uint64_t i, uint64_t version = 0) {
  return make_sample({.seed = i * 1000 + version, .bytes = 9000, .key = key_of(i)});
}

}  // namespace sluice::store
