#include "src/cache/page_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/limits.h"
#include "src/cache/common_prefix.h"
#include "src/cache/page_rules.h"

namespace sluice::cache {

namespace {

constexpr size_t kDoubtedMax = 1024;

Error not_found(const Key& key, std::string_view why) {
  return SLUICE_ERR(Errc::not_found, "page {}: {}", to_hex(key), why);
}

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

Result<std::unique_ptr<PageCache>> PageCache::open(const PageCacheConfig& config) {
  SLUICE_TRY(auto tier, store::RamTier::open(config.ram));
  return std::unique_ptr<PageCache>(new PageCache(std::move(tier)));
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
      const store::Record* record = find(*group.open, key);
      there.hit.push_back(record != nullptr && record->quality_kl <= max_kl);
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
    const store::Record* record = find(*query.open, query.keys[i]);
    answer.pages.push_back(
        {.rows = record->rows, .kl = record->quality_kl, .stored_bytes = record->bytes()});
    tier_->touch(record->tenant, record->key);
  }
}

std::string PageCache::explain_miss(std::span<const GroupQuery> groups, uint32_t max_kl) const {
  for (const GroupQuery& group : groups) {
    for (const Key& key : group.keys) {
      if (const store::Record* record = find(*group.open, key)) {
        return fmt::format("stored, but of quality {} micro-nats where at most {} was asked for",
                           record->quality_kl,
                           max_kl);
      }
    }
  }
  return groups.empty() ? "no group was asked for" : spaces_.explain_miss(*groups[0].open->space);
}

Result<PageAnswer> PageCache::get(const OpenSpace& open, const PageQuery& query) {
  const store::Record* record = find(open, query.key);
  if (record == nullptr) {
    return not_found(query.key, "not stored in this space");
  }
  if (query.encoding_id != codec::EncodingId{} && query.encoding_id != record->encoding_id) {
    return not_found(query.key, "stored in another encoding than asked for");
  }
  if (record->quality_kl > query.max_kl) {
    return not_found(query.key, "stored, but of worse quality than asked for");
  }
  SLUICE_TRY(store::PageRef page, tier_->read(record->tenant, query.key));
  SLUICE_TRY(codec::PageHeader header, codec::parse_page_header(page.bytes()));

  bool all = query.first_layer == 0 && query.layers == 0;
  uint32_t layers = all ? header.geometry.layers : query.layers;
  if (query.first_row > page.record().rows) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "page {}: rows from {} asked for, it has {}",
                      to_hex(query.key),
                      query.first_row,
                      page.record().rows);
  }
  PageAnswer answer{.encoding_id = page.record().encoding_id,
                    .rows = page.record().rows - query.first_row,
                    .kl = page.record().quality_kl,
                    .header = page.bytes().first(page.record().header_bytes),
                    .sections = {},
                    .keep_alive = page.keep_alive()};
  for (uint32_t row = query.first_row; row < page.record().rows; ++row) {
    SLUICE_TRY(auto range, codec::select_sections(header, row, query.first_layer, layers));
    answer.sections.push_back(page.bytes().subspan(range.offset, range.bytes));
  }
  return answer;
}

Result<PendingPut> PageCache::put_begin(const OpenSpace& open,
                                        const Key& key,
                                        const Key& anchor,
                                        uint64_t page_bytes) {
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
  SLUICE_TRY(auto reservation, tier_->reserve(open.space->tenant, anchor, page_bytes));
  return PendingPut(open, key, anchor, std::move(reservation));
}

Result<PutOutcome> PageCache::put_end(PendingPut put) {
  Result<PutOutcome> outcome = store_page(std::move(put));
  if (outcome.has_error()) {
    stats_.puts_refused += 1;
  } else if (*outcome == PutOutcome::unchanged) {
    stats_.puts_unchanged += 1;
  }
  return outcome;
}

Result<PutOutcome> PageCache::store_page(PendingPut put) {
  ByteSpan bytes = put.destination();
  SLUICE_TRY(codec::PageHeader header, codec::parse_page_header(bytes));
  SLUICE_CHECK(check_page(header, put.open_, put.key_, bytes.size()));
  store::Record record =
      make_record(header, bytes.first(header.header_bytes()), put.open_, put.anchor_);

  const store::Record* there = find(put.open_, record.key);
  if (there != nullptr && !replaces(record, *there)) {
    // A page that stays must be one that can be served: a damaged one yields to its equal.
    SLUICE_TRY(bool was_damaged, tier_->recheck(there->tenant, there->key, there->encoding_id));
    if (!was_damaged) {
      tier_->touch(record.tenant, record.key);
      return PutOutcome::unchanged;
    }
    there = nullptr;
  }
  SLUICE_CHECK(tier_->commit(std::move(put.reservation_), std::move(record)));
  put.open_.space->stored = true;
  return there == nullptr ? PutOutcome::stored : PutOutcome::replaced;
}

bool PageCache::damaged(const OpenSpace& open,
                        const Key& key,
                        const codec::EncodingId& encoding_id) {
  stats_.damage_reports += 1;
  if (find(open, key) == nullptr) {
    return false;
  }
  Result<bool> checked = tier_->recheck(open.space->tenant, key, encoding_id);
  if (checked.has_error() || *checked) {
    return checked.has_value();
  }
  const std::pair doubt(key, encoding_id);
  if (doubted_.erase(doubt) == 0) {
    if (doubted_.size() == kDoubtedMax) {
      doubted_.clear();  // forgetting costs one more report
    }
    doubted_.insert(doubt);
    return false;
  }
  return tier_->erase(open.space->tenant, key);
}

uint32_t PageCache::erase(const OpenSpace& open, std::span<const Key> keys) {
  uint32_t erased = 0;
  for (const Key& key : keys) {
    if (find(open, key) != nullptr && tier_->erase(open.space->tenant, key)) {
      erased += 1;
    }
  }
  return erased;
}

PageCacheStats PageCache::stats() const {
  PageCacheStats now = stats_;
  now.ram = tier_->stats();
  return now;
}

// A key commits to its space's descriptor, salt included: who can name a page of another space
// could open that space. So a page under a key of another space is only hidden, not kept beside.
const store::Record* PageCache::find(const OpenSpace& open, const Key& key) const {
  const store::Record* record = tier_->find(open.space->tenant, key);
  return record != nullptr && record->space_id == open.space->id ? record : nullptr;
}

}  // namespace sluice::cache
