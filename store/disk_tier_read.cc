// Reads from the log, and cuts.
#include <algorithm>
#include <utility>

#include "store/disk_tier.h"

namespace sluice::store {

namespace {

Status check_part(const LogEntry& entry, const RecordPart& part) {
  const RowEnds& rows = entry.rows;
  bool fits = part.rows >= 1 && part.rows <= rows.count;
  for (const SectionRun& run : part.runs) {
    fits = fits && uint64_t{run.first} + run.count <= rows.ends[part.rows - 1].sections;
  }
  if (!fits) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "page {} has {} rows: {} rows, or sections behind them, were asked for",
                      to_hex(entry.key),
                      rows.count,
                      part.rows);
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<ReadJob>> DiskTier::begin_read(const IndexEntry& entry, RecordPart part) {
  SLUICE_CHECK(check_part(entry.log, part));
  auto job = std::make_shared<ReadJob>();
  job->file = entry.segment->file;
  job->place = {.log_id = log_id_, .segment = entry.segment->number, .offset = entry.log.offset};
  job->entry = entry.log;
  job->part = std::move(part);
  uint64_t taken = buffers_->taken_bytes();
  if (reads_.size() >= config_.reads_max ||
      (taken != 0 && taken + job->memory_bytes() > config_.read_bytes_max)) {
    ++stats_.reads_overloaded;
    return SLUICE_ERR(Errc::overloaded,
                      "{} reads are on their way, at most {}; they and pages not sent yet hold {} "
                      "bytes, at most {}; try again later",
                      reads_.size(),
                      config_.reads_max,
                      taken,
                      config_.read_bytes_max);
  }
  job->memory = buffers_->take(job->memory_bytes());
  reads_.insert(job);
  return job;
}

// Books what a read found; its page is left for the caller.
void DiskTier::finish_read(const std::shared_ptr<ReadJob>& job) {
  reads_.erase(job);
  job->memory.reset();  // the page has it, where there is one
  if (job->is_cancelled) {
    ++stats_.misses;
    job->page = SLUICE_ERR(Errc::not_found, "page {} was erased", to_hex(job->entry.key));
  } else if (job->page.has_value()) {
    ++stats_.hits;
  } else if (job->page.error().code == Errc::not_found) {
    ++stats_.misses;
  } else {
    stats_.read_errors += job->page.error().code == Errc::io_error ? 1 : 0;
    take_out_unread(*job);
  }
}

// A page that cannot be had goes out of the index, so that the next put of it writes it anew; a
// damaged one for good, one that the device failed to read until a restart.
void DiskTier::take_out_unread(const ReadJob& job) {
  const IndexEntry* entry = index_.find(job.entry.tenant, job.entry.key);
  if (entry == nullptr || entry->log.sequence != job.entry.sequence) {
    return;
  }
  const bool is_damaged = job.page.error().code == Errc::damaged;
  if (is_damaged) {
    queue_loss(*entry);
    ++stats_.damaged;
  } else {
    index_.lose(job.entry.tenant, job.entry.key, durable_sequence_);
  }
  warn(fmt::format("page {} {}: {}; where this happens again, test the disk (smartctl -a)",
                   to_hex(job.entry.key),
                   is_damaged
                       ? "is damaged and out of the index"
                       : "could not be read, and is tried again after a restart if nobody puts it",
                   job.page.error().to_string()));
}

// Takes a damaged page out for good. Where the queue is full it is found damaged again after a
// restart; so is one that was not durable yet, where the one that it replaced counts again.
void DiskTier::queue_loss(const IndexEntry& entry) {
  LogEntry loss{.type = EntryType::loss,
                .bytes = entry.log.sequence,
                .tenant = entry.log.tenant,
                .key = entry.log.key,
                .encoding_id = entry.log.encoding_id};
  index_.lose(loss.tenant, loss.key, durable_sequence_);
  if (index_.find(loss.tenant, loss.key) == nullptr && queued_bytes_ <= config_.queue_bytes_max) {
    push({.kind = DiskOpKind::loss, .charge_bytes = kOpOverheadBytes, .bare = loss});
  }
}

Status DiskTier::read(uint32_t tenant, const Key& key, DiskReadDone done) {
  const IndexEntry* entry = index_.find(tenant, key);
  const uint32_t rows = entry == nullptr ? 0 : entry->log.rows.count;
  return read(tenant,
              key,
              rows == 0 ? RecordPart() : RecordPart::of_rows(entry->log.rows, rows),
              std::move(done));
}

Status DiskTier::read(uint32_t tenant, const Key& key, RecordPart part, DiskReadDone done) {
  const IndexEntry* entry = index_.find(tenant, key);
  if (entry == nullptr) {
    ++stats_.misses;
    return SLUICE_ERR(Errc::not_found, "no page {} on disk", to_hex(key));
  }
  SLUICE_TRY(std::shared_ptr<ReadJob> job, begin_read(*entry, std::move(part)));
  run(
      Lane::read,
      [job] { read_page(*job); },
      [this, job, done = std::move(done)] {
        finish_read(job);
        if (done) {
          done(std::move(job->page));
        }
      });
  return {};
}

Status DiskTier::cut(const DiskCut& cut, DiskDone done) {
  const IndexEntry* entry = index_.find(cut.tenant, cut.key);
  if (entry == nullptr || entry->log.encoding_id != cut.encoding_id) {
    return SLUICE_ERR(Errc::not_found, "no page {} of that encoding on disk", to_hex(cut.key));
  }
  const RowEnds& rows = entry->log.rows;
  if (cut.rows == 0 || cut.rows >= rows.count) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "page {} has {} rows, it cannot be cut to {}",
                      to_hex(cut.key),
                      rows.count,
                      cut.rows);
  }
  if (queued_bytes_ > config_.queue_bytes_max) {
    return queue_full();
  }
  LogEntry bare{.type = EntryType::cut,
                .bytes = rows.ends[cut.rows - 1].end,
                .tenant = cut.tenant,
                .rows = {.count = cut.rows},
                .key = cut.key,
                .encoding_id = cut.encoding_id};
  push({.kind = DiskOpKind::cut,
        .charge_bytes = kOpOverheadBytes,
        .want_durable = true,
        .bare = bare,
        .done = std::move(done)});
  return {};
}

}  // namespace sluice::store
