// What changes a PageCache: put, damaged, erase.
#include "src/base/limits.h"
#include "src/cache/page_cache.h"
#include "src/cache/page_rules.h"

namespace sluice::cache {

namespace {

constexpr size_t kDoubtedMax = 1024;

}  // namespace

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
  store::Record record =
      make_record(header, bytes.first(header.header_bytes()), put.open_, put.anchor_);

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
  if (there == nullptr && newest && newest->space_id == record.space_id) {
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
  const bool is_there = newest && (!page || newest->encoding_id == page->record().encoding_id);
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
           (entry->record.encoding_id == page.encoding_id || replaces(entry->record, page));
  };
  if (is_durable()) {
    return done(Status());
  }
  disk_->commit([this, open, key = page.key, is_durable, done = std::move(done)](Status status) {
    if (is_durable()) {
      return done(Status());
    }
    if (const std::optional<store::PageRef> again = hold_in_ram(open, key)) {
      return write(open, *again, true, done);
    }
    done(status.has_error()
             ? std::move(status)
             : Status(SLUICE_ERR(Errc::io_error,
                                 "page {} was lost before it was durable: the device failed a sync",
                                 to_hex(key))));
  });
}

void PageCache::damaged(const OpenSpace& open,
                        const Key& key,
                        const codec::EncodingId& encoding_id,
                        const DamagedDone& done) {
  stats_.damage_reports += 1;
  const uint32_t tenant = open.space->tenant;
  std::optional<Found> there = find(open, key);
  if (!there || there->encoding_id != encoding_id) {
    return done(false);
  }
  if (there->in_ram) {
    Result<bool> was_damaged = ram_->recheck(tenant, key, encoding_id);
    return done((was_damaged.has_value() && *was_damaged) ||
                take_out_doubted(open, key, encoding_id));
  }
  auto checked = [this, open, key, encoding_id, done](const Result<store::DiskPage>& page) {
    done(page.has_error() ? page.error().code == Errc::damaged
                          : take_out_doubted(open, key, encoding_id));
  };
  if (disk_->read(tenant, key, std::move(checked)).has_error()) {
    done(false);  // too busy to look: the client will say it again
  }
}

// Whether this page was reported before and found intact then too; remembers that it was.
bool PageCache::doubted_before(const store::RecordId& id, const codec::EncodingId& encoding_id) {
  const std::pair doubt(id, encoding_id);
  if (doubted_.erase(doubt) != 0) {
    return true;
  }
  if (doubted_.size() == kDoubtedMax) {
    doubted_.clear();  // forgetting costs one more report
  }
  doubted_.insert(doubt);
  return false;
}

// Takes a page out that is intact and was reported before, unless another came meanwhile.
bool PageCache::take_out_doubted(const OpenSpace& open,
                                 const Key& key,
                                 const codec::EncodingId& encoding_id) {
  std::optional<Found> there = find(open, key);
  if (!there || there->encoding_id != encoding_id ||
      !doubted_before({open.space->tenant, key}, encoding_id)) {
    return false;
  }
  erase(open, {&key, 1}, [](const Result<uint32_t>&) {});
  return !find(open, key);
}

void PageCache::erase(const OpenSpace& open, std::span<const Key> keys, const EraseDone& done) {
  const uint32_t tenant = open.space->tenant;
  const std::set<Key> each(keys.begin(), keys.end());
  uint32_t erased = 0;
  std::vector<store::RecordId> deleted;
  for (const Key& key : each) {
    erased += find(open, key) ? 1 : 0;
    // Also one that is nowhere: the tombstone of an earlier erase may not be durable yet.
    std::optional<store::Record> newest = newest_for_disk({tenant, key});
    if (disk_ != nullptr && (!newest || newest->space_id == open.space->id)) {
      deleted.push_back({.tenant = tenant, .key = key});
    } else if (find_on_disk(open, key)) {
      // A tombstone would take the other space's page too, which it may have been told is durable.
      return done(SLUICE_ERR(Errc::overloaded,
                             "page {}: another space's put of this key is on its way to disk; "
                             "delete it again later",
                             to_hex(key)));
    }
  }
  if (!deleted.empty()) {
    auto durable = [erased, done](const Status& status) {
      done(status.has_error() ? Result<uint32_t>(status.error()) : erased);
    };
    Status queued = disk_->erase(deleted, durable);
    if (queued.has_error()) {
      return done(std::move(queued).error());
    }
  }
  for (const Key& key : each) {
    if (find_in_ram(open, key) != nullptr) {
      ram_->erase(tenant, key);
    }
  }
  for (const store::RecordId& gone : deleted) {
    writes_.erase({tenant, gone.key});
    flights_.erase({tenant, gone.key});  // its readers get what comes of it; nobody joins them
  }
  if (deleted.empty()) {
    done(erased);
  }
}

}  // namespace sluice::cache
