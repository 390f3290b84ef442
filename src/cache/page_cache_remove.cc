// What takes pages, or rows of them, out of a PageCache: damaged, erase, drop_rows.
#include <algorithm>

#include "src/cache/page_cache.h"

namespace sluice::cache {

namespace {

constexpr size_t kDoubtedMax = 1024;

// The page, where it is of this encoding.
template <class Found>
std::optional<Found> in_encoding(std::optional<Found> there, const codec::EncodingId& encoding_id) {
  return there && there->encoding_id == encoding_id ? there : std::nullopt;
}

}  // namespace

void PageCache::damaged(const OpenSpace& open,
                        const Key& key,
                        const codec::EncodingId& encoding_id,
                        const DamagedDone& done) {
  stats_.damage_reports += 1;
  const uint32_t tenant = open.space->tenant;
  const std::optional<Found> ram = in_encoding(in_ram(open, key), encoding_id);
  const std::optional<Found> disk = in_encoding(on_disk(open, key), encoding_id);
  if (ram) {
    Result<bool> was_damaged = ram_->recheck(tenant, key, encoding_id);
    if (was_damaged.has_value() && *was_damaged) {
      return done(true);
    }
  }
  // What RAM lacks was served from the disk.
  if (!disk || (ram && ram->rows.count >= disk->rows.count)) {
    return done(ram && take_out_doubted(open, key, encoding_id));
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
  // What RAM has is as good as what the disk has, or better.
  std::optional<Found> there = in_ram(open, key);
  there = in_encoding(there ? there : on_disk(open, key), encoding_id);
  if (!there || !doubted_before({open.space->tenant, key}, encoding_id)) {
    return false;
  }
  erase(open, {&key, 1}, [](const Result<uint32_t>&) {});
  return !is_there(open, key);
}

void PageCache::erase(const OpenSpace& open, std::span<const Key> keys, const EraseDone& done) {
  const uint32_t tenant = open.space->tenant;
  const std::set<Key> each(keys.begin(), keys.end());
  uint32_t erased = 0;
  std::vector<store::RecordId> deleted;
  for (const Key& key : each) {
    erased += is_there(open, key) ? 1 : 0;
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

void PageCache::drop_rows(const OpenSpace& open,
                          const Key& key,
                          const codec::EncodingId& encoding_id,
                          uint32_t rows,
                          const DropDone& done) {
  const store::RecordId id{open.space->tenant, key};
  const std::optional<Found> ram = in_encoding(in_ram(open, key), encoding_id);
  const std::optional<Found> disk = in_encoding(on_disk(open, key), encoding_id);
  if (!ram && !disk) {
    return done(SLUICE_ERR(Errc::not_found, "page {}: not stored in that encoding", to_hex(key)));
  }
  const uint32_t stored = std::max(ram ? ram->rows.count : 0, disk ? disk->rows.count : 0);
  if (rows == 0 || rows >= stored) {
    return done(SLUICE_ERR(Errc::invalid_argument,
                           "page {} has {} rows, it cannot be cut to {}",
                           to_hex(key),
                           stored,
                           rows));
  }
  if (writes_.contains(id)) {
    return done(SLUICE_ERR(
        Errc::overloaded, "page {}: a put of it is on its way to disk; cut it later", to_hex(key)));
  }
  if (ram && rows < ram->rows.count) {
    Status cut = ram_->cut(id.tenant, key, encoding_id, rows);
    if (cut.has_error()) {
      return done(std::move(cut));
    }
  }
  if (!disk || rows >= disk->rows.count) {
    return done({});
  }
  Status queued =
      disk_->cut({.tenant = id.tenant, .key = key, .encoding_id = encoding_id, .rows = rows}, done);
  if (queued.has_error()) {
    done(std::move(queued));
  }
}

}  // namespace sluice::cache
