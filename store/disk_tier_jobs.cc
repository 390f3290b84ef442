// The way of a batch: from the queue over the prepare and write lanes to the index and the answers.
#include <algorithm>
#include <utility>

#include "store/disk_tier.h"

namespace sluice::store {

namespace {

// So many batches are on their way that the write lane has its next one while reports travel to the
// owner and back. 3 were no faster in log_bench; the kept run is bench/results/log.json.
constexpr uint32_t kJobsMax = 5;
// Acks wait for one sync while more comes, but not for more than this.
constexpr uint64_t kGroupBytes = 32 << 20;

}  // namespace

// Starts as many jobs as may be on their way.
void DiskTier::pump() {
  while (!queue_.empty() && jobs_staging_ + jobs_writing_ < kJobsMax) {
    start_job();
  }
}

void DiskTier::start_job() {
  auto job = std::make_shared<DiskJob>();
  uint64_t bytes = 0;
  while (!queue_.empty()) {
    uint64_t more = queue_.front().log_bytes();
    if (!job->ops.empty() && bytes + more > batch_bytes_) {
      break;
    }
    bytes += more;
    job->ops.push_back(std::move(queue_.front()));
    queue_.pop_front();
    if (job->ops.back().seal) {
      break;
    }
  }
  AlignedBuffer memory;
  if (bytes <= batch_bytes_ && !spare_memory_.empty()) {
    memory = std::move(spare_memory_.back());
    spare_memory_.pop_back();
  } else {
    memory = AlignedBuffer(std::max(bytes, batch_bytes_));
  }
  job->batch = LogBatch(std::move(memory));
  ++jobs_staging_;
  run(
      Lane::prepare, [job] { stage(*job); }, [this, job] { submit(job); });
}

// One sync acks all that was written before it: where more comes right behind, that one's will do.
bool DiskTier::wants_sync(const DiskJob& job) const {
  bool is_waited_for = is_sync_owed_;
  for (const DiskOp& op : job.ops) {
    if (op.kind == DiskOpKind::tombstone || op.kind == DiskOpKind::barrier) {
      return true;
    }
    is_waited_for = is_waited_for || op.want_durable;
  }
  uint64_t interval_ns = config_.sync_interval_ms * 1'000'000;
  if (is_dirty() && clock_.now_ns() - dirty_since_ns_ >= interval_ns) {
    return true;
  }
  bool comes_more = jobs_staging_ != 0 || !queue_.empty();
  return is_waited_for && (!comes_more || unsynced_bytes_ >= kGroupBytes);
}

void DiskTier::submit(const std::shared_ptr<DiskJob>& job) {
  --jobs_staging_;
  ++jobs_writing_;
  job->options.sync = wants_sync(*job);
  job->options.seal = job->ops.back().seal;
  auto is_waited_for = [](const DiskOp& op) { return op.want_durable; };
  is_sync_owed_ = !job->options.sync && !job->options.seal &&
                  (is_sync_owed_ || std::any_of(job->ops.begin(), job->ops.end(), is_waited_for));
  run(
      Lane::write,
      [writer = writer_, job] { write_job(*writer, *job); },
      [this, job] { finish(job); });
}

void DiskTier::take_segments(const WriteReport& report) {
  for (const std::string& line : report.lines) {
    warn(line);
  }
  for (const OpenedSegment& opened : report.opened) {
    index_.add_segment(opened.number, opened.file);
  }
  for (const FailedSegment& failed : report.failed) {
    uint64_t pages = index_.fail_segment(failed.number, failed.durable_sequence);
    ++stats_.failed_segments;
    if (last_sequence_ >> kOrdinalBits == failed.number) {
      last_sequence_ = std::min(last_sequence_, failed.durable_sequence);
    }
    stats_.failed_writes += pages;
    if (pages != 0) {
      warn(
          fmt::format("{}: {} pages that were not durable are lost; those that RAM still has are "
                      "served from there",
                      device_.path_of(segment_name(failed.number)),
                      pages));
    }
    if (failed.is_removed) {
      index_.drop_segment(failed.number);
      ++stats_.dropped_segments;
    }
  }
  for (const DroppedSegment& dropped : report.dropped) {
    uint64_t pages = index_.drop_segment(dropped.number);
    stats_.evicted += pages;
    ++stats_.dropped_segments;
    log_line(LineLevel::info,
             fmt::format("segment {:016x}, the oldest, dropped to make room: {} bytes, {} pages",
                         dropped.number,
                         dropped.bytes,
                         pages));
  }
  durable_sequence_ = std::max(durable_sequence_, report.durable_sequence);
  stats_.log_bytes = report.log_bytes;
}

// What was written counts, unless it was erased while it waited; a cut only where the page is still
// there.
Status DiskTier::take_written(const DiskOp& op, const LogEntry& entry) {
  auto erased = erases_.find({entry.tenant, entry.key});
  bool is_erased = erased != erases_.end() && erased->second > op.ticket;
  if (op.kind == DiskOpKind::cut && (is_erased || !index_.cut(entry))) {
    return SLUICE_ERR(Errc::not_found, "page {} is gone or another one", to_hex(entry.key));
  }
  if (op.kind == DiskOpKind::page && !is_erased) {
    index_.insert(entry, durable_sequence_);
  }
  return {};
}

void DiskTier::take_op(DiskOp& op, const DiskJob& job, Answers& answers) {
  queued_bytes_ -= op.charge_bytes;
  Status status = op.staged.has_error() ? op.staged : job.report.status;
  if (op.staged.has_error()) {
    ++stats_.refused_writes;
    warn(fmt::format(
        "page {} was not written: {}", to_hex(op.record.key), op.staged.error().to_string()));
  } else if (status.has_error()) {
    stats_.failed_writes += op.has_record();
  } else if (op.has_record()) {
    const LogEntry& entry = job.batch.records()[op.last_record].entry;
    last_sequence_ = entry.sequence;
    ++stats_.written;
    if (op.kind != DiskOpKind::tombstone) {
      status = take_written(op, entry);
    }
    if (status.has_value() && op.want_durable && op.done) {
      waiters_.push_back({.sequence = entry.sequence, .done = std::move(op.done)});
      return;
    }
  }
  if (op.done) {
    answers.emplace_back(std::move(op.done), std::move(status));
  }
}

// Also of what nobody waits for.
void DiskTier::tell_losses(const DiskJob& job) {
  LostWrites lost;
  bool has_records = false;
  for (const DiskOp& op : job.ops) {
    has_records |= op.has_record() && op.kind != DiskOpKind::loss;
    lost.pages += op.has_record() && op.kind == DiskOpKind::page ? 1 : 0;
    lost.bytes += op.has_record() ? op.bytes.size() : 0;
    lost.deletes += op.deleted.size();
    lost.cuts += op.kind == DiskOpKind::cut ? 1 : 0;
  }
  if (!has_records) {
    return;
  }
  const WriteReport& report = job.report;
  if (report.status.has_error()) {
    const std::string where =
        fmt::format("{} offset {}", device_.path_of(segment_name(report.segment)), report.offset);
    if (auto line = loss_lines_.failed(lost, where, report.status.error(), clock_.now_ns())) {
      warn(*line);
    }
  } else if (auto line = loss_lines_.taken()) {
    log_line(LineLevel::info, *line);
  }
}

void DiskTier::settle_waiters(const WriteReport& report, Answers& answers) {
  auto is_lost = [&](const Waiter& waiter) {
    return std::any_of(
        report.failed.begin(), report.failed.end(), [&](const FailedSegment& failed) {
          return waiter.sequence >> kOrdinalBits == failed.number &&
                 waiter.sequence > failed.durable_sequence;
        });
  };
  std::vector<Waiter> left;
  for (Waiter& waiter : waiters_) {
    if (is_lost(waiter)) {
      answers.emplace_back(
          std::move(waiter.done),
          SLUICE_ERR(Errc::io_error,
                     "{} was not synced, so this is not durable; see the log of "
                     "sluiced, and put it again",
                     device_.path_of(segment_name(waiter.sequence >> kOrdinalBits))));
    } else if (waiter.sequence <= report.durable_sequence) {
      answers.emplace_back(std::move(waiter.done), Status());
    } else {
      left.push_back(std::move(waiter));
    }
  }
  waiters_ = std::move(left);
}

void DiskTier::settle_dirt(const DiskJob& job) {
  if (!is_dirty()) {
    index_.forget_replaced();
    unsynced_bytes_ = 0;
    return;
  }
  if (unsynced_bytes_ == 0) {
    dirty_since_ns_ = clock_.now_ns();
  }
  unsynced_bytes_ += std::max<uint64_t>(job.batch.used_bytes(), 1);
}

void DiskTier::finish(const std::shared_ptr<DiskJob>& job) {
  --jobs_writing_;
  Answers answers;
  take_segments(job->report);
  tell_losses(*job);
  for (DiskOp& op : job->ops) {
    take_op(op, *job, answers);
  }
  for (const DiskOp& op : job->ops) {
    for (const RecordId& key : op.deleted) {
      auto erased = erases_.find({key.tenant, key.key});
      if (erased != erases_.end() && erased->second == op.ticket) {
        erases_.erase(erased);
      }
    }
  }
  settle_waiters(job->report, answers);
  settle_dirt(*job);
  AlignedBuffer memory = std::move(job->batch).take_memory();
  if (memory.size() == batch_bytes_) {
    spare_memory_.push_back(std::move(memory));
  }
  pump();
  for (auto& [done, status] : answers) {
    done(std::move(status));
  }
}

}  // namespace sluice::store
