// PageCache::get: out of RAM, or from disk through RAM.
#include <algorithm>

#include "src/cache/page_cache.h"

namespace sluice::cache {

namespace {

Error not_found(const Key& key, std::string_view why) {
  return SLUICE_ERR(Errc::not_found, "page {}: {}", to_hex(key), why);
}

// Whether a page that is there is one that was asked for.
Status check_wanted(const PageQuery& query, const codec::EncodingId& encoding_id, uint32_t kl) {
  if (query.encoding_id != codec::EncodingId{} && query.encoding_id != encoding_id) {
    return not_found(query.key, "stored in another encoding than asked for");
  }
  if (kl > query.max_kl) {
    return not_found(query.key, "stored, but of worse quality than asked for");
  }
  return {};
}

// The pieces of a whole page that were asked for.
Result<PageAnswer> cut_out(const PageQuery& query,
                           const store::Record& record,
                           ByteSpan page,
                           std::shared_ptr<const void> keep_alive) {
  SLUICE_TRY(codec::PageHeader header, codec::parse_page_header(page));
  const bool all = query.first_layer == 0 && query.layers == 0;
  const uint32_t layers = all ? header.geometry.layers : query.layers;
  if (query.first_row > record.rows) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "page {}: rows from {} asked for, it has {}",
                      to_hex(query.key),
                      query.first_row,
                      record.rows);
  }
  PageAnswer answer{.encoding_id = record.encoding_id,
                    .rows = record.rows - query.first_row,
                    .kl = record.quality_kl,
                    .header = page.first(record.header_bytes),
                    .sections = {},
                    .keep_alive = std::move(keep_alive)};
  for (uint32_t row = query.first_row; row < record.rows; ++row) {
    SLUICE_TRY(auto range, codec::select_sections(header, row, query.first_layer, layers));
    answer.sections.push_back(page.subspan(range.offset, range.bytes));
  }
  return answer;
}

}  // namespace

void PageCache::get(const OpenSpace& open, const PageQuery& query, GetDone done) {
  std::optional<Found> there = find(open, query.key);
  if (!there) {
    return done(not_found(query.key, "not stored in this space"));
  }
  Status wanted = check_wanted(query, there->encoding_id, there->quality_kl);
  if (wanted.has_error()) {
    return done(std::move(wanted).error());
  }
  if (there->in_ram) {
    Result<store::PageRef> page = ram_->read(open.space->tenant, query.key);
    if (page.has_value()) {
      return done(cut_out(query, page->record(), page->bytes(), page->keep_alive()));
    }
    if (!find_on_disk(open, query.key)) {
      return done(std::move(page).error());
    }
  }
  get_from_disk(open, query, std::move(done));
}

// Several readers of a page share one read.
void PageCache::get_from_disk(const OpenSpace& open, const PageQuery& query, GetDone done) {
  const PageId id(open.space->tenant, query.key);
  auto [flight, first] = flights_.try_emplace(id);
  flight->second.push_back({.open = open, .query = query, .done = std::move(done)});
  if (!first) {
    return;
  }
  Status started = disk_->read(
      id.first, id.second, [this, id](Result<store::DiskPage> page) { land(id, std::move(page)); });
  if (started.has_error()) {
    land(id, std::move(started).error());
  }
}

void PageCache::land(const PageId& id, Result<store::DiskPage> page) {
  std::vector<Waiter> waiters = std::move(flights_.extract(id).mapped());
  if (page.has_value()) {
    promote(*page);
  }
  for (Waiter& waiter : waiters) {
    if (page.has_error()) {
      waiter.done(page.error());
    } else if (page->record.space_id != waiter.open.space->id) {
      waiter.done(not_found(id.second, "not stored in this space"));
    } else if (Status wanted =
                   check_wanted(waiter.query, page->record.encoding_id, page->record.quality_kl);
               wanted.has_error()) {
      waiter.done(wanted.error());
    } else {
      waiter.done(cut_out(waiter.query, page->record, page->bytes, page->keep_alive));
    }
  }
}

// Keeps a page in RAM that somebody reads, unless RAM is full of what may not go: it is served from
// where it was read in any case.
void PageCache::promote(const store::DiskPage& page) {
  if (ram_->find(page.record.tenant, page.record.key) != nullptr) {
    return;
  }
  Result<store::Reservation> room =
      ram_->reserve(page.record.tenant, page.record.anchor, page.bytes.size());
  if (room.has_error()) {
    return;
  }
  std::copy(page.bytes.begin(), page.bytes.end(), room->bytes().begin());
  if (ram_->commit(*std::move(room), page.record).has_value()) {
    stats_.promoted += 1;
  }
}

}  // namespace sluice::cache
