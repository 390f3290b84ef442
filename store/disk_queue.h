// What waits to be written to the log, and how a piece of the queue becomes a batch.
//
// Not the queue's rules (disk_tier.h). Plain values; stage() runs on the runner's prepare lane,
// write_job() on its write lane, each job on one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "src/base/result.h"
#include "store/log_batch.h"
#include "store/log_format.h"
#include "store/log_writer.h"
#include "store/record.h"

namespace sluice::store {

enum class DiskOpKind : uint8_t {
  page,
  descriptor,  // to be kept for the segments to come; no record by itself
  tombstone,
  cut,
  loss,     // of a page that was found damaged
  barrier,  // all before it becomes durable
};

// Charged for a queued op beside what it holds.
inline constexpr uint64_t kOpOverheadBytes = 512;

struct DiskOp {
  DiskOpKind kind = DiskOpKind::barrier;
  uint64_t ticket = 0;  // rises with each op
  uint64_t charge_bytes = 0;
  bool want_durable = false;
  bool seal = false;  // of a barrier: the segment ends behind it

  Record record;  // of a page
  ByteSpan bytes;
  std::shared_ptr<const void> keep_alive;

  RecordId space;                     // of a descriptor
  std::optional<RecordId> forgotten;  // whose room it takes
  std::shared_ptr<const Bytes> descriptor;

  std::vector<RecordId> deleted;  // of a tombstone
  LogEntry bare;                  // of a cut or a loss

  std::function<void(Status)> done;  // may be empty

  // Once it was staged:
  Status staged;
  size_t last_record = 0;  // index in the batch of its last record; of a page its only one

  // What it takes in the log.
  uint64_t log_bytes() const;

  bool has_record() const {
    return kind != DiskOpKind::barrier && kind != DiskOpKind::descriptor && staged.has_value();
  }
};

// Ops that are written with one call.
struct DiskJob {
  std::vector<DiskOp> ops;
  LogBatch batch{AlignedBuffer()};
  WriteOptions options;
  WriteReport report;
};

// Copies and checks what the ops say. Pages that do not agree with their sums are left out.
void stage(DiskJob& job);

// Writes the batch; what came of it is in the job's report.
void write_job(LogWriter& writer, DiskJob& job);

}  // namespace sluice::store
