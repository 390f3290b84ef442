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

// The same of a page that was read from disk for somebody in this space.
Result<PageAnswer> cut_out_read(const OpenSpace& open,
                                const PageQuery& query,
                                const Result<store::DiskPage>& page) {
  if (page.has_error()) {
    return page.error();
  }
  if (page->record.space_id != open.space->id) {
    return not_found(query.key, "not stored in this space");
  }
  SLUICE_CHECK(check_wanted(query, page->record.encoding_id, page->record.quality_kl));
  return cut_out(query, page->record, page->bytes, page->keep_alive);
}

}  // namespace

void PageCache::get(const OpenSpace& open, const PageQuery& query, GetDone done) {
  std::optional<Found> there = find(open, query.key);
  if (!there) {
    return answer(done, not_found(query.key, "not stored in this space"), false);
  }
  Status wanted = check_wanted(query, there->encoding_id, there->quality_kl);
  if (wanted.has_error()) {
    return answer(done, std::move(wanted).error(), false);
  }
  if (there->in_ram) {
    Result<store::PageRef> page = ram_->read(open.space->tenant, query.key);
    if (page.has_value()) {
      return answer(done, cut_out(query, page->record(), page->bytes(), page->keep_alive()), true);
    }
    if (!find_on_disk(open, query.key)) {
      return answer(done, std::move(page).error(), false);
    }
  }
  get_from_disk(open, query, std::move(done));
}

// Every GET counts once at each tier that it came to: the hits and misses of a tier add up.
void PageCache::answer(const GetDone& done, Result<PageAnswer> page, bool from_ram) {
  const bool ram_hit = from_ram && page.has_value();
  (ram_hit ? stats_.ram_gets.hits : stats_.ram_gets.misses) += 1;
  if (!ram_hit && disk_ != nullptr) {
    (page.has_value() ? stats_.disk_gets.hits : stats_.disk_gets.misses) += 1;
  }
  done(std::move(page));
}

// Several readers of a page share one read, as long as it is the page that they would read now.
void PageCache::get_from_disk(const OpenSpace& open, const PageQuery& query, GetDone done) {
  const store::RecordId id{open.space->tenant, query.key};
  const codec::EncodingId encoding_id = find_on_disk(open, query.key)->record.encoding_id;
  std::shared_ptr<Flight>& last = flights_[id];
  const bool joins = last != nullptr && last->encoding_id == encoding_id;
  if (!joins) {
    last = std::make_shared<Flight>(Flight{.id = id, .encoding_id = encoding_id, .waiters = {}});
  }
  const std::shared_ptr<Flight> flight = last;
  flight->waiters.push_back({.open = open, .query = query, .done = std::move(done)});
  if (joins) {
    return;
  }
  Status started = disk_->read(id.tenant, id.key, [this, flight](Result<store::DiskPage> page) {
    land(flight, std::move(page));
  });
  if (started.has_error()) {
    land(flight, std::move(started).error());
  }
}

void PageCache::land(const std::shared_ptr<Flight>& flight, Result<store::DiskPage> page) {
  if (auto last = flights_.find(flight->id); last != flights_.end() && last->second == flight) {
    flights_.erase(last);
  }
  if (page.has_value()) {
    promote(*page);
  }
  for (const Waiter& waiter : flight->waiters) {
    answer(waiter.done, cut_out_read(waiter.open, waiter.query, page), false);
  }
}

// Keeps a page in RAM that somebody reads, and goes on with RAM's copy, so that no slow reader
// holds a buffer of the disk's. Where RAM is full of what may not go it is served from where it was
// read.
void PageCache::promote(store::DiskPage& page) {
  const store::RecordId id{page.record.tenant, page.record.key};
  std::optional<store::Record> newest = newest_for_disk(id);
  // A better one may have come while this one was read; if it left RAM again, this one must not
  // hide it.
  if (ram_->find(id.tenant, id.key) != nullptr || !newest ||
      newest->encoding_id != page.record.encoding_id) {
    return;
  }
  Result<store::Reservation> room = ram_->reserve(id.tenant, page.record.anchor, page.bytes.size());
  if (room.has_error()) {
    return;
  }
  std::copy(page.bytes.begin(), page.bytes.end(), room->bytes().begin());
  if (ram_->commit(*std::move(room), page.record).has_error()) {
    return;
  }
  stats_.promoted += 1;
  const store::PageRef promoted = *ram_->hold(id.tenant, id.key);
  page.bytes = promoted.bytes();
  page.keep_alive = promoted.keep_alive();
}

}  // namespace sluice::cache
