// PageCache::get: out of RAM, or from disk through RAM.
#include <algorithm>

#include "src/cache/page_cache.h"
#include "src/cache/page_rules.h"

namespace sluice::cache {

namespace {

// The pieces of a page that were asked for. `record` may have more rows, or none behind `part`.
PageAnswer cut_out(const PageQuery& query,
                   const store::RecordPart& part,
                   const store::Record& record,
                   ByteSpan page,
                   std::shared_ptr<const void> keep_alive) {
  PageAnswer answer{.encoding_id = record.encoding_id,
                    .rows = part.rows - query.first_row,
                    .kl = record.rows.ends[part.rows - 1].quality_kl,
                    .header = page.first(record.header_bytes),
                    .sections = {},
                    .keep_alive = std::move(keep_alive)};
  for (const store::SectionRun& run : part.runs) {
    const uint64_t begin = record.section_begin(run.first);
    answer.sections.push_back(
        page.subspan(begin, record.section_begin(run.first + run.count) - begin));
  }
  return answer;
}

}  // namespace

void PageCache::get(const OpenSpace& open, const PageQuery& query, GetDone done) {
  std::optional<Found> there = find_wanted(open, query);
  if (!there) {
    return answer(done, why_not_wanted(open, query), false);
  }
  Result<store::RecordPart> part = wanted_part(query, there->rows, open.space->geometry);
  if (part.has_error()) {
    return answer(done, std::move(part).error(), false);
  }
  if (there->in_ram) {
    Result<store::PageRef> page = ram_->read(open.space->tenant, query.key, part->runs);
    if (page.has_value()) {
      return answer(
          done, cut_out(query, *part, page->record(), page->bytes(), page->keep_alive()), true);
    }
    // What was damaged is out of RAM now: the disk may have the page, or an older one.
    if (page.error().code == Errc::damaged && find_wanted(open, query)) {
      return get(open, query, std::move(done));
    }
    return answer(done, std::move(page).error(), false);
  }
  get_from_disk(open, query, *std::move(part), there->encoding_id, std::move(done));
}

Error PageCache::why_not_wanted(const OpenSpace& open, const PageQuery& query) const {
  std::string_view why = "not stored in this space";
  for (const std::optional<Found>& there : {on_disk(open, query.key), in_ram(open, query.key)}) {
    if (there) {
      const bool same =
          query.encoding_id == codec::EncodingId{} || query.encoding_id == there->encoding_id;
      const bool good = wanted_rows(query, there->rows) != 0;
      why = !same  ? "stored in another encoding than asked for"
            : good ? "stored with fewer rows than the reader has"
                   : "stored, but of worse quality than asked for";
    }
  }
  return SLUICE_ERR(Errc::not_found, "page {}: {}", to_hex(query.key), why);
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

// Several readers of a page share one read, as long as it is what they would read now.
void PageCache::get_from_disk(const OpenSpace& open,
                              const PageQuery& query,
                              store::RecordPart part,
                              const codec::EncodingId& encoding_id,
                              GetDone done) {
  const store::RecordId id{open.space->tenant, query.key};
  std::shared_ptr<Flight>& last = flights_[id];
  const bool joins = last != nullptr && last->encoding_id == encoding_id && last->part == part;
  if (!joins) {
    last = std::make_shared<Flight>(
        Flight{.id = id, .encoding_id = encoding_id, .part = std::move(part), .waiters = {}});
  }
  const std::shared_ptr<Flight> flight = last;
  flight->waiters.push_back({.query = query, .done = std::move(done)});
  if (joins) {
    return;
  }
  auto landed = [this, flight](Result<store::DiskPage> page) { land(flight, std::move(page)); };
  Status started = disk_->read(id.tenant, id.key, flight->part, std::move(landed));
  if (started.has_error()) {
    land(flight, std::move(started).error());
  }
}

void PageCache::land(const std::shared_ptr<Flight>& flight, Result<store::DiskPage> page) {
  if (auto last = flights_.find(flight->id); last != flights_.end() && last->second == flight) {
    flights_.erase(last);
  }
  if (page.has_value() &&
      flight->part == store::RecordPart::of_rows(page->record.rows, flight->part.rows)) {
    promote(*page);
  }
  for (const Waiter& waiter : flight->waiters) {
    answer(waiter.done,
           page.has_error()
               ? Result<PageAnswer>(page.error())
               : cut_out(waiter.query, flight->part, page->record, page->bytes, page->keep_alive),
           false);
  }
}

// Keeps the rows of a page in RAM that somebody reads, and goes on with RAM's copy, so that no slow
// reader holds a buffer of the disk's. Where RAM is full of what may not go they are served from
// where they were read.
void PageCache::promote(store::DiskPage& page) {
  const store::RecordId id{page.record.tenant, page.record.key};
  std::optional<store::Record> newest = newest_for_disk(id);
  // A better one may have come while this one was read; if it left RAM again, this one must not
  // hide it.
  if (!newest || !has_all_of(*newest, page.record)) {
    return;
  }
  const store::Record* there = ram_->find(id.tenant, id.key);
  if (there != nullptr && (has_all_of(*there, page.record) || !has_all_of(page.record, *there))) {
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
