#include "src/cache/page_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/cache/common_prefix.h"
#include "src/cache/page_rules.h"

namespace sluice::cache {

namespace {

Status check_groups(std::span<const GroupQuery> groups) {
  for (const GroupQuery& group : groups) {
    uint32_t first = groups.front().open->space->geometry.n_tokens;
    uint32_t tokens = group.open->space->geometry.n_tokens;
    if (tokens != first) {
      return SLUICE_ERR(Errc::invalid_argument,
                        "lookup over groups whose pages have {} and {} tokens: a common prefix is "
                        "counted in pages, which must be equally long",
                        first,
                        tokens);
    }
  }
  return {};
}

// Requires: some of the rows are within max_kl.
PageStatus status_of(const store::RowEnds& rows, uint32_t max_kl) {
  const uint32_t wanted = rows.within(max_kl);
  const store::RowEnd& end = rows.ends[wanted - 1];
  return {.rows = wanted, .kl = end.quality_kl, .stored_bytes = end.end};
}

}  // namespace

PageCache::PageCache(std::unique_ptr<store::RamTier> ram,
                     std::unique_ptr<store::DiskTier> disk,
                     ProfileStoreConfig profiles)
    : ram_(std::move(ram)), profiles_(std::move(profiles)), disk_(std::move(disk)) {}

Result<std::unique_ptr<PageCache>> PageCache::open(PageCacheConfig config) {
  SLUICE_TRY(auto ram, store::RamTier::open(config.ram));
  std::unique_ptr<PageCache> cache(
      new PageCache(std::move(ram), std::move(config.disk), std::move(config.profiles)));
  if (cache->disk_ != nullptr) {
    for (const store::RecoveredDescriptor& found : cache->disk_->take_descriptors()) {
      // One that does not parse is none of a space that anybody can open.
      if (auto space = cache->spaces_.open(found.tenant, found.bytes); space.has_value()) {
        (*space)->stored = true;
      }
    }
  }
  return cache;
}

Result<OpenSpace> PageCache::open_space(uint32_t tenant, ByteSpan descriptor, uint32_t worst_kl) {
  SLUICE_TRY(auto space, spaces_.open(tenant, descriptor));
  return OpenSpace{.space = std::move(space), .worst_kl = worst_kl};
}

Result<LookupAnswer> PageCache::lookup(std::span<const GroupQuery> groups, uint32_t max_kl) {
  SLUICE_CHECK(check_groups(groups));
  std::vector<GroupHits> hits;
  LookupAnswer answer;
  bool any = false;
  for (const GroupQuery& group : groups) {
    GroupHits& there = hits.emplace_back(GroupHits{.window_pages = group.window_pages, .hit = {}});
    std::vector<PageStatus>& pages = answer.groups.emplace_back().pages;
    for (const Key& key : group.keys) {
      std::optional<Found> page = find_wanted(*group.open, {.key = key, .max_kl = max_kl});
      there.hit.push_back(page.has_value());
      pages.push_back(page ? status_of(page->rows, max_kl) : PageStatus());
      any = any || page;
    }
    stats_.lookup_pages += group.keys.size();
  }
  answer.common_pages = common_prefix(hits);
  for (size_t i = 0; i < groups.size(); ++i) {
    GroupAnswer& group = answer.groups[i];
    group.hit_pages = leading_hits(hits[i].hit);
    group.first_page = first_needed(groups[i].window_pages, answer.common_pages);
    group.pages.resize(answer.common_pages);
    group.pages.erase(group.pages.begin(), group.pages.begin() + group.first_page);
    keep_for_reader(groups[i], group);
    stats_.lookup_hit_pages += group.pages.size();
  }
  if (!any) {
    answer.miss_reason = explain_miss(groups, max_kl);
  }
  return answer;
}

void PageCache::keep_for_reader(const GroupQuery& query, const GroupAnswer& answer) {
  for (size_t i = 0; i < answer.pages.size(); ++i) {
    ram_->touch(query.open->space->tenant, query.keys[answer.first_page + i]);
  }
}

std::string PageCache::explain_miss(std::span<const GroupQuery> groups, uint32_t max_kl) const {
  for (const GroupQuery& group : groups) {
    for (const Key& key : group.keys) {
      // What is stored best: the disk may have rows that RAM has not.
      std::optional<Found> best = on_disk(*group.open, key);
      std::optional<Found> ram = in_ram(*group.open, key);
      if (ram && (!best || ram->rows.last().quality_kl < best->rows.last().quality_kl)) {
        best = ram;
      }
      if (best) {
        return fmt::format("stored, but of quality {} micro-nats where at most {} was asked for",
                           best->rows.last().quality_kl,
                           max_kl);
      }
    }
  }
  return groups.empty() ? "no group was asked for" : spaces_.explain_miss(*groups[0].open->space);
}

void PageCache::drain(std::function<void()> done) {
  if (disk_ == nullptr) {
    return done();
  }
  disk_->drain([done = std::move(done)](const Status&) { done(); });
}

void PageCache::tick() {
  if (disk_ != nullptr) {
    disk_->tick();
  }
}

PageCacheStats PageCache::stats() const {
  PageCacheStats now = stats_;
  now.ram = ram_->stats();
  now.profiles = profiles_.stats();
  if (disk_ != nullptr) {
    now.disk = disk_->stats();
  }
  return now;
}

std::optional<PageCache::Found> PageCache::in_ram(const OpenSpace& open, const Key& key) const {
  const store::Record* record = find_in_ram(open, key);
  return record == nullptr
             ? std::nullopt
             : std::optional(
                   Found{.rows = record->rows, .encoding_id = record->encoding_id, .in_ram = true});
}

std::optional<PageCache::Found> PageCache::on_disk(const OpenSpace& open, const Key& key) const {
  std::optional<store::DiskEntry> entry = find_on_disk(open, key);
  return !entry ? std::nullopt
                : std::optional(Found{.rows = entry->record.rows,
                                      .encoding_id = entry->record.encoding_id,
                                      .in_ram = false});
}

// The page as the tier has it that answers the query: RAM where it can, unless the disk has more of
// the rows that are wanted.
std::optional<PageCache::Found> PageCache::find_wanted(const OpenSpace& open,
                                                       const PageQuery& query) const {
  std::optional<Found> best = in_ram(open, query.key);
  if (best && !answers(query, best->rows, best->encoding_id)) {
    best.reset();
  }
  if (best && query.least_rows <= best->rows.count) {
    return best;
  }
  std::optional<Found> disk = on_disk(open, query.key);
  if (disk && answers(query, disk->rows, disk->encoding_id) &&
      (!best || (disk->encoding_id == best->encoding_id &&
                 wanted_rows(query, disk->rows) > wanted_rows(query, best->rows)))) {
    best = disk;
  }
  return best;
}

// A key commits to its space's descriptor, salt included: who can name a page of another space
// could open that space. So a page under a key of another space is only hidden, not kept beside.
const store::Record* PageCache::find_in_ram(const OpenSpace& open, const Key& key) const {
  const store::Record* record = ram_->find(open.space->tenant, key);
  return record != nullptr && record->space_id == open.space->id ? record : nullptr;
}

std::optional<store::PageRef> PageCache::hold_in_ram(const OpenSpace& open, const Key& key) const {
  return find_in_ram(open, key) != nullptr ? ram_->hold(open.space->tenant, key) : std::nullopt;
}

std::optional<store::DiskEntry> PageCache::find_on_disk(const OpenSpace& open,
                                                        const Key& key) const {
  if (disk_ == nullptr) {
    return std::nullopt;
  }
  std::optional<store::DiskEntry> entry = disk_->find(open.space->tenant, key);
  return entry && entry->record.space_id == open.space->id ? entry : std::nullopt;
}

// What the disk has of a page, or will have when all is written that waits.
std::optional<store::Record> PageCache::newest_for_disk(const store::RecordId& id) const {
  if (auto write = writes_.find(id); write != writes_.end()) {
    return write->second.record;
  }
  if (disk_ == nullptr) {
    return std::nullopt;
  }
  std::optional<store::DiskEntry> entry = disk_->find(id.tenant, id.key);
  return entry ? std::optional(std::move(entry->record)) : std::nullopt;
}

}  // namespace sluice::cache
