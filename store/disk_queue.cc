#include "store/disk_queue.h"

#include <algorithm>

namespace sluice::store {

namespace {

void stage_deleted(DiskJob& job, const DiskOp& op) {
  std::span<const RecordId> left(op.deleted);
  while (!left.empty()) {
    size_t count = std::min<size_t>(left.size(), kTombstoneKeysMax);
    job.batch.add_tombstone(left.first(count));
    left = left.subspan(count);
  }
}

}  // namespace

uint64_t DiskOp::log_bytes() const {
  switch (kind) {
    case DiskOpKind::page:
      return LogBatch::page_bytes(record);
    case DiskOpKind::tombstone: {
      uint64_t records = (deleted.size() + kTombstoneKeysMax - 1) / kTombstoneKeysMax;
      return 2 * records *
             round_up_to_block(kLogHeadFixedBytes + kTombstoneKeysMax * kDeletedKeyBytes);
    }
    case DiskOpKind::cut:
    case DiskOpKind::loss:
      return kBlockBytes;
    case DiskOpKind::descriptor:
    case DiskOpKind::barrier:
      return 0;
  }
  return 0;
}

void stage(DiskJob& job) {
  for (DiskOp& op : job.ops) {
    if (op.kind == DiskOpKind::page) {
      op.staged = job.batch.add(EntryType::page, op.record, op.bytes);
    } else if (op.kind == DiskOpKind::tombstone) {
      stage_deleted(job, op);
    } else if (op.kind == DiskOpKind::cut || op.kind == DiskOpKind::loss) {
      job.batch.add_bare(op.bare);
    }
    op.last_record = std::max<size_t>(job.batch.records().size(), 1) - 1;
  }
}

void write_job(LogWriter& writer, DiskJob& job) {
  for (const DiskOp& op : job.ops) {
    if (op.kind == DiskOpKind::descriptor) {
      writer.describe(op.space, op.descriptor);
      if (op.forgotten) {
        writer.forget(*op.forgotten);
      }
    }
  }
  job.report = writer.write(job.batch, job.options);
}

}  // namespace sluice::store
