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

}  // namespace

PageCache::PageCache(std::unique_ptr<store::RamTier> ram, std::unique_ptr<store::DiskTier> disk)
    : ram_(std::move(ram)), disk_(std::move(disk)) {}

Result<std::unique_ptr<PageCache>> PageCache::open(PageCacheConfig config) {
  SLUICE_TRY(auto ram, store::RamTier::open(config.ram));
  std::unique_ptr<PageCache> cache(new PageCache(std::move(ram), std::move(config.disk)));
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
  bool any = false;
  for (const GroupQuery& group : groups) {
    GroupHits& there = hits.emplace_back(GroupHits{.window_pages = group.window_pages, .hit = {}});
    for (const Key& key : group.keys) {
      std::optional<Found> page = find(*group.open, key);
      there.hit.push_back(page && page->quality_kl <= max_kl);
      any = any || there.hit.back();
    }
    stats_.lookup_pages += group.keys.size();
  }
  LookupAnswer answer;
  answer.common_pages = common_prefix(hits);
  for (size_t i = 0; i < groups.size(); ++i) {
    GroupAnswer& group = answer.groups.emplace_back();
    group.hit_pages = leading_hits(hits[i].hit);
    describe(groups[i], answer.common_pages, group);
    stats_.lookup_hit_pages += group.pages.size();
  }
  if (!any) {
    answer.miss_reason = explain_miss(groups, max_kl);
  }
  return answer;
}

void PageCache::describe(const GroupQuery& query, uint32_t common_pages, GroupAnswer& answer) {
  answer.first_page = first_needed(query.window_pages, common_pages);
  for (uint32_t i = answer.first_page; i < common_pages; ++i) {
    std::optional<Found> page = find(*query.open, query.keys[i]);
    answer.pages.push_back(
        {.rows = page->rows, .kl = page->quality_kl, .stored_bytes = page->bytes});
    ram_->touch(query.open->space->tenant, query.keys[i]);
  }
}

std::string PageCache::explain_miss(std::span<const GroupQuery> groups, uint32_t max_kl) const {
  for (const GroupQuery& group : groups) {
    for (const Key& key : group.keys) {
      if (std::optional<Found> page = find(*group.open, key)) {
        return fmt::format("stored, but of quality {} micro-nats where at most {} was asked for",
                           page->quality_kl,
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
  if (disk_ != nullptr) {
    now.disk = disk_->stats();
  }
  return now;
}

std::optional<PageCache::Found> PageCache::find(const OpenSpace& open, const Key& key) const {
  if (const store::Record* record = find_in_ram(open, key)) {
    return Found{.rows = record->rows,
                 .quality_kl = record->quality_kl,
                 .bytes = record->bytes(),
                 .encoding_id = record->encoding_id,
                 .in_ram = true};
  }
  if (std::optional<store::DiskEntry> entry = find_on_disk(open, key)) {
    return Found{.rows = entry->record.rows,
                 .quality_kl = entry->record.quality_kl,
                 .bytes = entry->bytes,
                 .encoding_id = entry->record.encoding_id,
                 .in_ram = false};
  }
  return std::nullopt;
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
