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
    stats_.puts_refused += 1;
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

  PutOutcome outcome = PutOutcome::stored;
  if (const store::Record* there = find_in_ram(put.open_, record.key)) {
    outcome = PutOutcome::replaced;
    if (!replaces(record, *there)) {
      // A page that stays must be one that can be served: a damaged one yields to its equal.
      SLUICE_TRY(bool was_damaged, ram_->recheck(there->tenant, there->key, there->encoding_id));
      if (!was_damaged) {
        ram_->touch(record.tenant, record.key);
        return PutOutcome::unchanged;
      }
      outcome = PutOutcome::stored;
    }
  } else if (auto entry = find_on_disk(put.open_, record.key)) {
    outcome = replaces(record, entry->record) ? PutOutcome::replaced : PutOutcome::unchanged;
    if (replaces(entry->record, record)) {
      return outcome;  // the better page stays, where it is
    }
  }
  SLUICE_CHECK(ram_->commit(std::move(put.reservation_), std::move(record)));
  put.open_.space->stored = true;
  return outcome;
}

// Brings a page that was put to disk as well. Whoever does not wait for that is answered at once; a
// write that is dropped then is counted by the tier.
void PageCache::write_behind(const OpenSpace& open,
                             const Key& key,
                             Durability durability,
                             PutOutcome outcome,
                             PutDone done) {
  if (disk_ == nullptr) {
    return done(outcome);
  }
  const uint32_t tenant = open.space->tenant;
  auto acked = [outcome, done](Status status) {
    done(status.has_error() ? Result<PutOutcome>(std::move(status).error()) : outcome);
  };
  std::optional<store::PageRef> page = ram_->hold(tenant, key);
  std::optional<store::DiskEntry> entry = find_on_disk(open, key);
  if (entry && (!page || entry->record.encoding_id == page->record().encoding_id)) {
    if (durability == Durability::ram || entry->is_durable) {
      return done(outcome);
    }
    return disk_->commit(std::move(acked));
  }
  SLUICE_ASSERT(page.has_value());  // it was stored just now, or is on disk
  // Only for explaining misses after a restart: a page is of use without it.
  (void)disk_->write_descriptor(tenant, open.space->id, open.space->bytes);
  const bool wait = durability == Durability::disk;
  Status queued = disk_->write({.record = page->record(),
                                .bytes = page->bytes(),
                                .keep_alive = page->keep_alive(),
                                .want_durable = wait},
                               wait ? store::DiskDone(acked) : store::DiskDone([](Status) {}));
  if (!wait) {
    done(outcome);
  } else if (queued.has_error()) {
    acked(std::move(queued));
  }
}

void PageCache::damaged(const OpenSpace& open,
                        const Key& key,
                        const codec::EncodingId& encoding_id,
                        DamagedDone done) {
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
  auto checked = [this, open, key, encoding_id, done](Result<store::DiskPage> page) {
    done(page.has_error() ? page.error().code == Errc::damaged
                          : take_out_doubted(open, key, encoding_id));
  };
  if (disk_->read(tenant, key, std::move(checked)).has_error()) {
    done(false);  // too busy to look: the client will say it again
  }
}

// Whether this page was reported before and found intact then too; remembers that it was.
bool PageCache::doubted_before(const Key& key, const codec::EncodingId& encoding_id) {
  const std::pair doubt(key, encoding_id);
  if (doubted_.erase(doubt) != 0) {
    return true;
  }
  if (doubted_.size() == kDoubtedMax) {
    doubted_.clear();  // forgetting costs one more report
  }
  doubted_.insert(doubt);
  return false;
}

bool PageCache::take_out_doubted(const OpenSpace& open,
                                 const Key& key,
                                 const codec::EncodingId& encoding_id) {
  if (!doubted_before(key, encoding_id)) {
    return false;
  }
  erase(open, {&key, 1}, [](Result<uint32_t>) {});
  return true;
}

void PageCache::erase(const OpenSpace& open, std::span<const Key> keys, EraseDone done) {
  const uint32_t tenant = open.space->tenant;
  uint32_t erased = 0;
  std::vector<store::RecordId> deleted;
  for (const Key& key : keys) {
    erased += find(open, key) ? 1 : 0;
    if (find_in_ram(open, key) != nullptr) {
      ram_->erase(tenant, key);
    }
    // Also one that is nowhere: its write may be on its way to disk.
    if (disk_ != nullptr && (find_on_disk(open, key) || !disk_->find(tenant, key))) {
      deleted.push_back({.tenant = tenant, .key = key});
    }
  }
  if (deleted.empty()) {
    return done(erased);
  }
  auto durable = [erased, done](Status status) {
    done(status.has_error() ? Result<uint32_t>(std::move(status).error()) : erased);
  };
  Status queued = disk_->erase(deleted, durable);
  if (queued.has_error()) {
    durable(std::move(queued));
  }
}

}  // namespace sluice::cache
