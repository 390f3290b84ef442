// Reads from the log, and cuts, which begin with one.
#include <algorithm>
#include <utility>

#include "store/disk_tier.h"

namespace sluice::store {

Result<std::shared_ptr<ReadJob>> DiskTier::begin_read(uint32_t tenant, const Key& key) {
  const IndexEntry* entry = index_.find(tenant, key);
  if (entry == nullptr) {
    ++stats_.misses;
    return SLUICE_ERR(Errc::not_found, "no page {} on disk", to_hex(key));
  }
  auto job = std::make_shared<ReadJob>();
  job->file = entry->segment->file;
  job->place = {.log_id = log_id_, .segment = entry->segment->number, .offset = entry->log.offset};
  job->entry = entry->log;
  job->is_cut = entry->is_cut;
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
    index_.lose(job.entry.tenant, job.entry.key);
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
  index_.lose(loss.tenant, loss.key);
  if (index_.find(loss.tenant, loss.key) == nullptr && queued_bytes_ <= config_.queue_bytes_max) {
    push({.kind = DiskOpKind::loss, .charge_bytes = kOpOverheadBytes, .bare = loss});
  }
}

Status DiskTier::read(uint32_t tenant, const Key& key, DiskReadDone done) {
  SLUICE_TRY(std::shared_ptr<ReadJob> job, begin_read(tenant, key));
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
  if (cut.bytes >= entry->log.bytes) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "page {} has {} bytes, it cannot be cut to {}",
                      to_hex(cut.key),
                      entry->log.bytes,
                      cut.bytes);
  }
  SLUICE_TRY(std::shared_ptr<ReadJob> job, begin_read(cut.tenant, cut.key));
  run(
      Lane::read,
      [job] { read_page(*job); },
      [this, cut, job, done = std::move(done)]() mutable {
        finish_read(job);
        queue_cut(cut, *job, std::move(done));
      });
  return {};
}

// The page was read: only what it declares may become its end.
void DiskTier::queue_cut(const DiskCut& cut, const ReadJob& job, DiskDone done) {
  if (!done) {
    done = [](const Status&) {};
  }
  if (job.page.has_error()) {
    done(job.page.error());
    return;
  }
  const std::vector<SectionSum>& sections = job.page->record.sections;
  bool is_declared = std::any_of(sections.begin(), sections.end(), [&](const SectionSum& section) {
    return section.cut && section.end == cut.bytes;
  });
  if (!is_declared) {
    done(SLUICE_ERR(
        Errc::invalid_argument, "page {} declares no cut at {}", to_hex(cut.key), cut.bytes));
    return;
  }
  LogEntry entry{.type = EntryType::cut,
                 .bytes = cut.bytes,
                 .tenant = cut.tenant,
                 .rows = cut.rows,
                 .quality_kl = cut.quality_kl,
                 .key = cut.key,
                 .encoding_id = cut.encoding_id};
  push({.kind = DiskOpKind::cut,
        .charge_bytes = kOpOverheadBytes,
        .want_durable = true,
        .bare = entry,
        .done = std::move(done)});
}

}  // namespace sluice::store
