// PageCache::put_begin, put_end: into RAM, and behind that to disk.
#include "src/base/limits.h"
#include "src/cache/page_cache.h"
#include "src/cache/page_rules.h"

namespace sluice::cache {

Result<PendingPut> PageCache::put_begin(const OpenSpace& open,
                                        const Key& key,
                                        const Key& anchor,
                                        uint64_t page_bytes,
                                        Durability durability) {
  if (durability == Durability::disk && disk_ == nullptr) {
    return SLUICE_ERR(Errc::unsupported,
                      "this daemon has no disk tier, so it cannot acknowledge a put as durable; "
                      "ask for ack ram, or start it with --disk");
  }
  if (key == store::kNoAnchor || key == anchor) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "put of page {} with anchor {}: the key must be there and another one",
                      to_hex(key),
                      to_hex(anchor));
  }
  uint64_t bytes_max = open.space->geometry.bytes() + kPageHeaderBytesMax;
  if (page_bytes > bytes_max) {
    return SLUICE_ERR(Errc::too_large,
                      "put of a page of {} bytes, no page of this space has more than {}",
                      page_bytes,
                      bytes_max);
  }
  SLUICE_TRY(auto reservation, ram_->reserve(open.space->tenant, anchor, page_bytes));
  return PendingPut(open, key, anchor, durability, std::move(reservation));
}

void PageCache::put_end(PendingPut put, PutDone done) {
  const OpenSpace open = put.open_;
  const Key key = put.key_;
  const Durability durability = put.durability_;
  Result<PutOutcome> outcome = store_page(std::move(put));
  if (outcome.has_error()) {
    stats_.puts_refused += outcome.error().code == Errc::no_space ? 0 : 1;
    return done(std::move(outcome));
  }
  if (*outcome == PutOutcome::unchanged) {
    stats_.puts_unchanged += 1;
  }
  write_behind(open, key, durability, *outcome, std::move(done));
}

// Makes the page visible in RAM, unless what is there, in either tier, is as good.
Result<PutOutcome> PageCache::store_page(PendingPut put) {
  ByteSpan bytes = put.destination();
  SLUICE_TRY(codec::PageHeader header, codec::parse_page_header(bytes));
  SLUICE_CHECK(check_page(header, put.open_, put.key_, bytes.size()));
  if (header.encoding == codec::Encoding::progressive &&
      profiles_.find(header.profile_digest) == nullptr) {
    return SLUICE_ERR(Errc::not_found,
                      "page {} is coded with profile {}, which the daemon has not, so that others "
                      "could not read it; put the profile first",
                      to_hex(header.page_key),
                      to_hex(header.profile_digest));
  }
  store::Record record = make_record(header, bytes, put.open_, put.anchor_);

  const store::Record* there = find_in_ram(put.open_, record.key);
  if (there != nullptr && !replaces(record, *there)) {
    SLUICE_TRY(bool was_damaged, ram_->recheck(there->tenant, there->key, there->encoding_id));
    if (!was_damaged) {
      ram_->touch(record.tenant, record.key);
      return PutOutcome::unchanged;
    }
    there = nullptr;  // it could not be served: taken out
  }
  PutOutcome outcome = there != nullptr ? PutOutcome::replaced : PutOutcome::stored;
  auto newest = newest_for_disk({record.tenant, record.key});
  if (newest && newest->space_id == record.space_id) {
    outcome = replaces(record, *newest) ? PutOutcome::replaced : PutOutcome::unchanged;
    if (outcome == PutOutcome::unchanged && newest->encoding_id != record.encoding_id) {
      return outcome;  // the first stays, where it is
    }
  }
  SLUICE_CHECK(ram_->commit(std::move(put.reservation_), std::move(record)));
  put.open_.space->stored = true;
  return outcome;
}

// Brings a page that was put to disk as well. Whoever does not wait for that is answered at once; a
// write that is dropped then is counted, here or by the tier.
void PageCache::write_behind(const OpenSpace& open,
                             const Key& key,
                             Durability durability,
                             PutOutcome outcome,
                             PutDone done) {
  if (disk_ == nullptr) {
    return done(outcome);
  }
  const std::optional<store::PageRef> page = hold_in_ram(open, key);
  std::optional<store::Record> newest = newest_for_disk({open.space->tenant, key});
  if (newest && newest->space_id != open.space->id) {
    newest.reset();
  }
  SLUICE_ASSERT(page || newest);  // it was stored just now, or is as good on disk
  const bool is_there = newest && (!page || has_all_of(*newest, page->record()));
  if (durability == Durability::ram) {
    if (!is_there) {
      write(open, *page, false, [](const Status&) {});
    }
    return done(outcome);
  }
  auto acked = [outcome, done = std::move(done)](const Status& status) {
    done(status.has_error() ? Result<PutOutcome>(status.error()) : outcome);
  };
  if (is_there) {
    make_durable(open, *newest, std::move(acked));
  } else {
    write(open, *page, true, std::move(acked));
  }
}

// Queues a page for the disk. Unlike the tier's, `done` is called in any case.
void PageCache::write(const OpenSpace& open,
                      const store::PageRef& page,
                      bool wait,
                      const store::DiskDone& done) {
  const store::Record& record = page.record();
  // Only for explaining misses after a restart: a page is of use without it.
  (void)disk_->write_descriptor(record.tenant, open.space->id, open.space->bytes);
  const store::RecordId id{record.tenant, record.key};
  const uint64_t number = ++last_write_;
  auto ended = [this, id, number, done](Status status) {
    if (auto last = writes_.find(id); last != writes_.end() && last->second.number == number) {
      writes_.erase(last);
    }
    done(std::move(status));
  };
  Status queued = disk_->write({.record = record,
                                .bytes = page.bytes(),
                                .keep_alive = page.keep_alive(),
                                .want_durable = wait},
                               std::move(ended));
  if (queued.has_error()) {
    stats_.too_large_writes += queued.error().code == Errc::too_large ? 1 : 0;
    return done(std::move(queued));
  }
  writes_[id] = {.number = number, .record = record};
}

// Done when a page that is on disk, or on its way there, is durable. A sync that fails takes with
// it what was written before, and whoever syncs next is not told: so look whether it is there.
void PageCache::make_durable(const OpenSpace& open,
                             const store::Record& page,
                             store::DiskDone done) {
  auto is_durable = [this, open, page] {
    std::optional<store::DiskEntry> entry = find_on_disk(open, page.key);
    return entry && entry->is_durable &&
           (has_all_of(entry->record, page) || replaces(entry->record, page));
  };
  if (is_durable()) {
    return done(Status());
  }
  disk_->commit([this, open, page, is_durable, done = std::move(done)](Status status) {
    if (is_durable()) {
      return done(Status());
    }
    if (const std::optional<store::PageRef> again = hold_in_ram(open, page.key);
        again && !replaces(page, again->record())) {
      return write(open, *again, true, done);
    }
    done(status.has_error()
             ? std::move(status)
             : Status(SLUICE_ERR(Errc::io_error,
                                 "page {} was lost before it was durable: the device failed a sync",
                                 to_hex(page.key))));
  });
}

}  // namespace sluice::cache
