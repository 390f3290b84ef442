// Appends to the log and keeps its segments: rolls, seals and drops them (FORMAT.md, Write order).
//
// Not the index and no queue: what it did comes back as a report. Blocks; used from one thread at a
// time, the runner's write lane. A segment whose write or sync failed is closed at once: cut to
// what is good in it, never appended to again. A batch that met this is tried once more in the next
// segment, where the device is full after the oldest segment was dropped. A dropped segment's room
// is there at once (BlockDevice::remove), its report comes later: who reads it meanwhile finds
// nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/result.h"
#include "store/block_device.h"
#include "store/log_batch.h"
#include "store/log_format.h"

namespace sluice::store {

struct OpenedSegment {
  uint64_t number = 0;
  std::shared_ptr<BlockFile> file;
};

// A segment that was given up: what stands behind durable_sequence is lost.
struct FailedSegment {
  uint64_t number = 0;
  uint64_t durable_sequence = 0;
  bool is_removed = false;  // nothing in it was durable: its name is gone
};

// The oldest segment, which made room: its name is gone.
struct DroppedSegment {
  uint64_t number = 0;
  uint64_t bytes = 0;
};

// What a call did, in the order in which it has to be taken over.
struct WriteReport {
  Status status;  // the batch is written, and synced if it asked for that; its entries are placed
  std::vector<OpenedSegment> opened;
  std::vector<FailedSegment> failed;
  std::vector<DroppedSegment> dropped;
  uint64_t durable_sequence = 0;   // up to here all is durable but what `failed` says
  uint64_t log_bytes = 0;          // of all segments
  std::vector<std::string> lines;  // warnings for the daemon's log
  uint64_t segment = 0;            // where the last try to write stood,
  uint64_t offset = 0;             // in that segment
};

struct WriteOptions {
  bool sync = false;  // before the report
  bool seal = false;  // end the segment behind this batch
};

// The segment that is written to. Not a member of the writer: clang has no std::optional of one
// whose members have initialisers.
struct CurrentSegment {
  uint64_t number = 0;
  std::shared_ptr<BlockFile> file;
  uint64_t end = 0;         // of what was written
  uint64_t synced_end = 0;  // of what was synced
  uint64_t ordinal = 0;     // of the last record
  uint64_t synced_ordinal = 0;
  bool can_sync = true;  // no sync of it has failed
  std::vector<LogEntry> entries;
  std::set<RecordId> described;
};

struct LogWriterConfig {
  LogId log_id{};
  uint64_t capacity_bytes = 0;
  uint64_t segment_bytes = 0;
  uint64_t next_number = 1;               // of the first segment to begin
  std::map<uint64_t, uint64_t> segments;  // that are there: bytes by number
  // The newest of these, sealed, to be gone on with: it loses its footer with the first batch that
  // it has room for.
  std::optional<CurrentSegment> last;

  // Up to here all is durable before anything is written.
  uint64_t durable_sequence() const {
    return last ? sequence_of(last->number, last->ordinal)
                : sequence_of(next_number - 1, kOrdinalMax);
  }
};

class LogWriter {
 public:
  LogWriter(const LogWriterConfig& config, BlockDevice& device, const Clock& clock)
      : config_(config),
        device_(device),
        clock_(clock),
        next_number_(config.next_number),
        last_(config.last),
        segments_(config.segments),
        durable_sequence_(config.durable_sequence()) {
    config_.last.reset();
  }

  // Keeps a descriptor for every segment that will get a page of its space.
  void describe(const RecordId& space, std::shared_ptr<const Bytes> descriptor) {
    descriptors_[space] = std::move(descriptor);
  }

  // Segments to come get it no more.
  void forget(const RecordId& space) { descriptors_.erase(space); }

  // Appends a batch, which may be empty. status: no_space, io_error.
  WriteReport write(LogBatch& batch, const WriteOptions& options);

 private:
  // What a batch takes in the current segment, with the descriptors that it lacks.
  struct BatchRoom {
    uint64_t bytes = 0;
    uint64_t entries = 0;  // of the footer
  };

  Status try_write(LogBatch& batch, const WriteOptions& options, WriteReport& report);
  Status prepare_segment(const LogBatch& batch, WriteReport& report);
  BatchRoom room_for(const LogBatch& batch) const;
  bool fits(const BatchRoom& room) const;
  Status make_room(uint64_t bytes, WriteReport& report);
  Status resume(const LogBatch& batch, WriteReport& report);
  Status start_segment(uint64_t bytes, WriteReport& report);
  Status append(LogBatch& batch);
  Status commit(SyncSite site);
  Status seal();
  Status drop_oldest(WriteReport& report);
  void note_place(WriteReport& report) const;
  void give_up(WriteReport& report, const Error& reason);
  std::vector<RecordId> undescribed(const LogBatch& batch) const;
  Status append_descriptors(const LogBatch& batch);
  uint64_t log_bytes() const;

  LogWriterConfig config_;
  BlockDevice& device_;
  const Clock& clock_;
  uint64_t next_number_;
  std::optional<CurrentSegment> current_;
  uint64_t previous_durable_ = 0;          // SegmentHeader's, of the segment to begin
  std::optional<CurrentSegment> last_;     // not yet gone on with; among segments_ too
  std::map<uint64_t, uint64_t> segments_;  // all but the current one: bytes by number
  std::map<RecordId, std::shared_ptr<const Bytes>> descriptors_;
  uint64_t durable_sequence_ = 0;
  std::optional<uint64_t>
      full_until_ns_;           // the device is full: nothing is dropped for it till then
  uint64_t full_pause_ns_ = 0;  // the last one; 0 once a batch got through
};

}  // namespace sluice::store
