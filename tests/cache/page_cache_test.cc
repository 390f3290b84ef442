#include "src/cache/page_cache.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/limits.h"
#include "tests/cache/cache_calls.h"
#include "tests/cache/sample_page.h"

namespace sluice::cache {
namespace {

using codec::Encoding;

class PageCacheTest : public testing::Test {
 protected:
  static constexpr uint64_t kCapacity = 8 << 20;

  OpenSpace open(const Descriptor& descriptor, uint32_t worst_kl = 0, uint32_t tenant = 0) {
    auto opened = cache_->open_space(tenant, bytes_of(descriptor), worst_kl);
    EXPECT_TRUE(opened.has_value()) << opened.error().to_string();
    return *opened;
  }

  CacheCalls calls() { return {.cache = *cache_}; }

  Result<PutOutcome> put(const OpenSpace& space,
                         const Hash32& key,
                         ByteSpan page,
                         const Hash32& anchor = {}) {
    return calls().put(space, key, page, anchor);
  }

  // Puts a whole page under page_key_of(number), hanging on `anchor` (0: none).
  Bytes put_new(const OpenSpace& space, uint64_t number, uint64_t anchor = 0, PageOptions o = {}) {
    Bytes page = make_page(space.space->geometry, page_key_of(number), o);
    auto outcome =
        put(space, page_key_of(number), page, anchor == 0 ? Hash32{} : page_key_of(anchor));
    EXPECT_TRUE(outcome.has_value()) << outcome.error().to_string();
    EXPECT_EQ(*outcome, PutOutcome::stored);
    return page;
  }

  Result<PageAnswer> get(const OpenSpace& space, uint64_t number, uint32_t max_kl = 0) {
    return calls().get(space, {.key = page_key_of(number), .max_kl = max_kl});
  }

  // A byte of the stored page rots.
  void damage(const OpenSpace& space, uint64_t number, size_t offset, uint32_t max_kl = 0) {
    auto answer = get(space, number, max_kl);
    ASSERT_TRUE(answer.has_value());
    const_cast<uint8_t*>(answer->header.data())[offset] ^= 0x40;
  }

  std::unique_ptr<PageCache> cache_ = *PageCache::open({.ram = {.capacity_bytes = kCapacity}});
};

TEST_F(PageCacheTest, RefusesATierThatMakesNoSense) {
  EXPECT_EQ(PageCache::open({.ram = {.capacity_bytes = 1}}).error().code, Errc::bad_config);
}

TEST_F(PageCacheTest, RefusesADescriptorByText) {
  Bytes bytes = bytes_of(sample_descriptor());
  bytes[0] = 9;
  auto opened = cache_->open_space(0, bytes, 0);
  ASSERT_TRUE(opened.has_error());
  EXPECT_EQ(opened.error().code, Errc::bad_value);
  EXPECT_NE(opened.error().text.find("descriptor"), std::string::npos) << opened.error().text;
}

TEST_F(PageCacheTest, RefusesASpaceWhosePagesExceedTheLimit) {
  Descriptor huge = sample_descriptor(4096);
  huge.heads = 1024;
  huge.planes[0].heads = huge.planes[1].heads = 1024;
  auto bytes = encode_descriptor(huge);
  auto error = bytes.has_error() ? bytes.error() : cache_->open_space(0, *bytes, 0).error();
  EXPECT_EQ(error.code, Errc::too_large);
}

TEST_F(PageCacheTest, ServesTheBytesThatWerePut) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = put_new(space, 1);
  auto answer = get(space, 1);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(joined(*answer), page);
  EXPECT_EQ(answer->rows, 1u);
  EXPECT_EQ(answer->kl, 0u);
  EXPECT_EQ(answer->encoding_id, codec::encoding_id(answer->header));
}

TEST_F(PageCacheTest, ServesLayerRangesRoundedOutToSections) {
  OpenSpace space = open(sample_descriptor(512));
  put_new(space, 1);
  auto whole = get(space, 1);
  ASSERT_TRUE(whole.has_value());
  codec::PageHeader header = *codec::parse_page_header(whole->header);
  ASSERT_EQ(header.layer_groups(), 4u);
  auto some = calls().get(space, {.key = page_key_of(1), .first_layer = 1, .layers = 2});
  ASSERT_TRUE(some.has_value());
  auto range = codec::select_sections(header, 0, 1, 2);
  ASSERT_EQ(some->sections.size(), 1u);
  EXPECT_EQ(some->sections[0].data(), whole->header.data() + range->offset);
  EXPECT_EQ(some->sections[0].size(), range->bytes);
  EXPECT_LT(some->sections[0].size(), whole->sections[0].size());
}

TEST_F(PageCacheTest, ServesOnlyTheHeaderToAReaderThatHasAllRows) {
  OpenSpace space = open(sample_descriptor());
  const Bytes page = put_new(space, 1);
  auto answer = calls().get(
      space, {.key = page_key_of(1), .encoding_id = encoding_id_of_page(page), .first_row = 1});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->rows, 0u);
  EXPECT_TRUE(answer->sections.empty());
}

TEST_F(PageCacheTest, RefusesLayersThatAPageDoesNotHaveAndLaterRowsOfNoEncoding) {
  OpenSpace space = open(sample_descriptor());
  put_new(space, 1);
  for (PageQuery query : {PageQuery{.key = page_key_of(1), .first_layer = 4, .layers = 1},
                          PageQuery{.key = page_key_of(1), .first_layer = 0, .layers = 5},
                          PageQuery{.key = page_key_of(1), .first_layer = 1, .layers = UINT32_MAX},
                          PageQuery{.key = page_key_of(1), .first_layer = 1, .layers = 0},
                          PageQuery{.key = page_key_of(1), .first_row = 1}}) {
    EXPECT_EQ(calls().get(space, query).error().code, Errc::invalid_argument);
  }
}

TEST_F(PageCacheTest, WhatIsNotThereIsNotFound) {
  OpenSpace space = open(sample_descriptor());
  put_new(space, 1);
  EXPECT_EQ(get(space, 2).error().code, Errc::not_found);
  codec::EncodingId other{};
  other[3] = 1;
  EXPECT_EQ(calls().get(space, {.key = page_key_of(1), .encoding_id = other}).error().code,
            Errc::not_found);
  codec::EncodingId same = get(space, 1)->encoding_id;
  EXPECT_TRUE(calls().get(space, {.key = page_key_of(1), .encoding_id = same}).has_value());
}

TEST_F(PageCacheTest, TenantsAndSpacesNeverSeeEachOther) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = put_new(space, 1);
  OpenSpace other_tenant = open(sample_descriptor(), 0, 7);
  Descriptor salted = sample_descriptor();
  salted.user_salt = {1};
  OpenSpace other_space = open(salted);
  for (const OpenSpace& other : {other_tenant, other_space}) {
    EXPECT_EQ(get(other, 1).error().code, Errc::not_found);
    EXPECT_FALSE(calls().damaged(other, page_key_of(1), get(space, 1)->encoding_id));
    Hash32 key = page_key_of(1);
    EXPECT_EQ(*calls().erase(other, {&key, 1}), 0u);
  }
  EXPECT_EQ(joined(*get(space, 1)), page);
}

TEST_F(PageCacheTest, AKeyTakenInAnotherSpaceDoesNotBlockItsOwner) {
  Descriptor salted = sample_descriptor();
  salted.user_salt = {1};
  put_new(open(salted), 1);
  OpenSpace space = open(sample_descriptor());
  Bytes page = put_new(space, 1, 0, {.encoding = Encoding::raw});
  EXPECT_EQ(joined(*get(space, 1)), page);
}

TEST_F(PageCacheTest, ATornPutLeavesNothing) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = make_page(space.space->geometry, page_key_of(1));
  {
    auto pending = cache_->put_begin(space, page_key_of(1), {}, page.size());
    ASSERT_TRUE(pending.has_value());
    std::copy_n(page.begin(), page.size() - 1, pending->destination().begin());
    EXPECT_EQ(get(space, 1).error().code, Errc::not_found);
  }
  EXPECT_EQ(get(space, 1).error().code, Errc::not_found);
  EXPECT_EQ(cache_->stats().ram.reserved_bytes, 0u);
  EXPECT_EQ(cache_->stats().ram.bytes, 0u);
}

TEST_F(PageCacheTest, EveryDamagedByteOfAPutIsRefusedAndLeavesNothing) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = make_page(space.space->geometry, page_key_of(1));
  size_t header_bytes = codec::parse_page_header(page)->header_bytes();
  for (size_t i = 0; i < page.size(); i += i < header_bytes ? 1 : 97) {
    page[i] ^= 0x08;
    auto outcome = put(space, page_key_of(1), page);
    ASSERT_TRUE(outcome.has_error()) << "byte " << i;
    if (i >= header_bytes) {
      ASSERT_EQ(outcome.error().code, Errc::bad_checksum);
      ASSERT_NE(outcome.error().text.find("section"), std::string::npos);
    }
    page[i] ^= 0x08;
  }
  EXPECT_EQ(cache_->stats().ram.records, 0u);
  EXPECT_GT(cache_->stats().puts_refused, header_bytes);
}

TEST_F(PageCacheTest, RefusesAPutOfAnotherLengthThanItsHeaderSays) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = make_page(space.space->geometry, page_key_of(1));
  EXPECT_EQ(put(space, page_key_of(1), ByteSpan(page).first(page.size() - 1)).error().code,
            Errc::truncated);
  page.push_back(0);
  EXPECT_EQ(put(space, page_key_of(1), page).error().code, Errc::truncated);
}

TEST_F(PageCacheTest, RefusesAPutOfAnotherPagesBytes) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = make_page(space.space->geometry, page_key_of(1));
  auto outcome = put(space, page_key_of(2), page);
  EXPECT_EQ(outcome.error().code, Errc::identity_mismatch);
  EXPECT_EQ(get(space, 2).error().code, Errc::not_found);
}

TEST_F(PageCacheTest, RefusesAPageThatItsSpaceDoesNotHoldNamingWhatDiffers) {
  OpenSpace space = open(sample_descriptor(64));
  const PageGeometry right = space.space->geometry;
  PageGeometry tokens = right;
  tokens.n_tokens = 32;
  PageGeometry layers = right;
  layers.layers = 3;
  PageGeometry planes = right;
  planes.planes.pop_back();
  PageGeometry dtype = right;
  dtype.planes[1].dtype = DType::bf16;
  PageGeometry rotated = right;
  rotated.planes[0].rotated_dims = 64;
  std::pair<PageGeometry, std::string> cases[] = {{tokens, "page of 32 tokens"},
                                                  {layers, "3 layers"},
                                                  {planes, "1 planes"},
                                                  {dtype, "plane 1: v bf16"},
                                                  {rotated, "64 rotated"}};
  for (const auto& [wrong, text] : cases) {
    auto outcome = put(space, page_key_of(1), make_page(wrong, page_key_of(1)));
    ASSERT_TRUE(outcome.has_error());
    EXPECT_EQ(outcome.error().code, Errc::layout_mismatch);
    EXPECT_NE(outcome.error().text.find(text), std::string::npos) << outcome.error().text;
  }
}

TEST_F(PageCacheTest, RefusesAPageThatNoPrefixHas) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = make_page(space.space->geometry, page_key_of(1), {.first_position = 33});
  EXPECT_EQ(put(space, page_key_of(1), page).error().code, Errc::bad_value);
}

TEST_F(PageCacheTest, RefusesBetterProvenanceThanTheClientDeclared) {
  OpenSpace space = open(sample_descriptor(), 300);
  Bytes better = make_page(space.space->geometry, page_key_of(1), {.provenance_kl = 299});
  EXPECT_EQ(put(space, page_key_of(1), better).error().code, Errc::bad_value);
  Bytes stamped = make_page(space.space->geometry, page_key_of(1), {.provenance_kl = 300});
  EXPECT_EQ(*put(space, page_key_of(1), stamped), PutOutcome::stored);
}

TEST_F(PageCacheTest, RefusesPutsThatMakeNoSenseBeforeTheirBytes) {
  OpenSpace space = open(sample_descriptor());
  auto code = [&](uint64_t key, uint64_t anchor, uint64_t bytes) {
    return cache_->put_begin(space, page_key_of(key), page_key_of(anchor), bytes).error().code;
  };
  EXPECT_EQ(code(0, 1, 1000), Errc::invalid_argument);
  EXPECT_EQ(code(1, 1, 1000), Errc::invalid_argument);
  EXPECT_EQ(code(1, 0, 0), Errc::invalid_argument);
  EXPECT_EQ(code(1, 0, space.space->geometry.bytes() + kPageHeaderBytesMax + 1), Errc::too_large);
  EXPECT_EQ(code(1, 0, UINT64_MAX), Errc::too_large);
}

TEST_F(PageCacheTest, RefusesPagesThatHangOnEachOther) {
  OpenSpace space = open(sample_descriptor());
  put_new(space, 1, 2);
  Bytes page = make_page(space.space->geometry, page_key_of(2));
  EXPECT_EQ(put(space, page_key_of(2), page, page_key_of(1)).error().code, Errc::invalid_argument);
}

TEST_F(PageCacheTest, FullMemoryRefusesTheRestOfAChain) {
  cache_ = *PageCache::open({.ram = {.capacity_bytes = 256 << 10}});
  OpenSpace space = open(sample_descriptor());
  uint64_t number = 1;
  Result<PutOutcome> outcome = PutOutcome::stored;
  while (outcome.has_value()) {
    Bytes page = make_page(space.space->geometry, page_key_of(number), {.seed = number});
    outcome = put(space, page_key_of(number), page, page_key_of(number - 1));
    ++number;
  }
  EXPECT_EQ(outcome.error().code, Errc::no_space);
  EXPECT_TRUE(get(space, 1).has_value());
  EXPECT_TRUE(get(space, number - 2).has_value());
  EXPECT_EQ(cache_->stats().ram.evicted_leaves, 0u);
  put_new(open(sample_descriptor(), 0, 1), 1);
  EXPECT_EQ(cache_->stats().ram.evicted_leaves, 1u);
}

TEST_F(PageCacheTest, APutWithoutRoomForItsSumsIsNoRefusedPage) {
  // Eight sections in a page so small that its put was charged fewer sums.
  Bytes page =
      make_page(open(sample_descriptor(512)).space->geometry, page_key_of(1), {.values = 1});
  const uint64_t charged = store::Arena::extent_bytes(page.size()) + store::kRecordOverheadBytes +
                           page.size() / store::kPutOverheadShare;
  cache_ = *PageCache::open({.ram = {.capacity_bytes = kCapacity, .tenant_bytes_max = charged}});
  OpenSpace space = open(sample_descriptor(512));
  EXPECT_EQ(put(space, page_key_of(1), page).error().code, Errc::no_space);
  EXPECT_EQ(cache_->stats().puts_refused, 0u);
}

TEST_F(PageCacheTest, TooManySlowPutsAreShedAsOverloaded) {
  OpenSpace space = open(sample_descriptor());
  std::vector<PendingPut> pending;
  Result<PendingPut> more = cache_->put_begin(space, page_key_of(1), {}, 500'000);
  while (more.has_value()) {
    pending.push_back(*std::move(more));
    more = cache_->put_begin(space, page_key_of(1), {}, 500'000);
  }
  EXPECT_EQ(more.error().code, Errc::overloaded);
  EXPECT_EQ(pending.size(), 4u);
}

// What is stored, what comes, and what is there afterwards.
struct Replacement {
  PageOptions there;
  PageOptions put;
  PutOutcome outcome;
};

TEST_F(PageCacheTest, BetterQualityReplacesThenEncodingThenTheFirstStays) {
  OpenSpace space = open(sample_descriptor());
  const Replacement cases[] = {
      {{Encoding::raw, 0, 1}, {Encoding::direct, 0, 1}, PutOutcome::replaced},
      {{Encoding::direct, 0, 1}, {Encoding::raw, 0, 1}, PutOutcome::unchanged},
      {{Encoding::direct, 0, 1}, {Encoding::direct, 0, 1}, PutOutcome::unchanged},
      {{Encoding::direct, 0, 1}, {Encoding::direct, 0, 2}, PutOutcome::unchanged},
      {{Encoding::direct, 300, 1}, {Encoding::raw, 0, 1}, PutOutcome::replaced},
      {{Encoding::direct, 300, 1}, {Encoding::raw, 299, 1}, PutOutcome::replaced},
      {{Encoding::raw, 0, 1}, {Encoding::direct, 300, 1}, PutOutcome::unchanged},
      {{Encoding::direct, 300, 1}, {Encoding::direct, kKlUnknown, 1}, PutOutcome::unchanged},
      {{Encoding::raw, kKlUnknown, 1}, {Encoding::direct, kKlUnknown, 1}, PutOutcome::replaced},
  };
  uint64_t number = 1;
  for (const Replacement& each : cases) {
    Bytes there = put_new(space, number, 0, each.there);
    Bytes page = make_page(space.space->geometry, page_key_of(number), each.put);
    EXPECT_EQ(*put(space, page_key_of(number), page), each.outcome) << "case " << number;
    Bytes after = joined(*get(space, number, kKlUnknown));
    EXPECT_EQ(after, each.outcome == PutOutcome::replaced ? page : there) << "case " << number;
    ++number;
  }
  EXPECT_EQ(cache_->stats().puts_unchanged, 5u);
  EXPECT_EQ(cache_->stats().ram.replaced, 4u);
}

TEST_F(PageCacheTest, ADamagedPageYieldsToItsEqual) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = put_new(space, 1);
  damage(space, 1, page.size() - 5);
  EXPECT_EQ(*put(space, page_key_of(1), page), PutOutcome::stored);
  EXPECT_EQ(joined(*get(space, 1)), page);
  EXPECT_EQ(cache_->stats().ram.damaged, 1u);
}

TEST_F(PageCacheTest, ServesNothingWorseThanAskedFor) {
  OpenSpace space = open(sample_descriptor());
  put_new(space, 1, 0, {.provenance_kl = 300});
  EXPECT_EQ(get(space, 1, 299).error().code, Errc::not_found);
  ASSERT_TRUE(get(space, 1, 300).has_value());
  EXPECT_EQ(get(space, 1, 300)->kl, 300u);
}

TEST_F(PageCacheTest, ADamagedPageIsAMissAndCounted) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = put_new(space, 1);
  for (size_t offset : {size_t{5}, size_t{130}, page.size() / 2, page.size() - 1}) {
    damage(space, 1, offset);
    EXPECT_EQ(get(space, 1).error().code, Errc::damaged);
    EXPECT_EQ(get(space, 1).error().code, Errc::not_found);
    EXPECT_EQ(*put(space, page_key_of(1), page), PutOutcome::stored);
  }
  EXPECT_EQ(cache_->stats().ram.damaged, 4u);
}

TEST_F(PageCacheTest, AReaderKeepsWhatItGotThroughReplacementAndErasure) {
  OpenSpace space = open(sample_descriptor());
  Bytes raw = put_new(space, 1, 0, {.encoding = Encoding::raw});
  auto answer = get(space, 1);
  Bytes direct = make_page(space.space->geometry, page_key_of(1));
  EXPECT_EQ(*put(space, page_key_of(1), direct), PutOutcome::replaced);
  Hash32 key = page_key_of(1);
  EXPECT_EQ(*calls().erase(space, {&key, 1}), 1u);
  EXPECT_EQ(joined(*answer), raw);
  EXPECT_GE(cache_->stats().ram.held_bytes, raw.size());
}

TEST_F(PageCacheTest, AReportOfDamageIsCheckedBeforeItIsBelieved) {
  OpenSpace space = open(sample_descriptor());
  Bytes page = put_new(space, 1);
  codec::EncodingId id = get(space, 1)->encoding_id;
  EXPECT_FALSE(calls().damaged(space, page_key_of(1), id));
  EXPECT_FALSE(calls().damaged(space, page_key_of(2), id));
  EXPECT_EQ(joined(*get(space, 1)), page);
  damage(space, 1, page.size() - 1);
  codec::EncodingId other = id;
  other[0] ^= 1;
  EXPECT_FALSE(calls().damaged(space, page_key_of(1), other));
  EXPECT_TRUE(calls().damaged(space, page_key_of(1), id));
  EXPECT_EQ(get(space, 1).error().code, Errc::not_found);
  EXPECT_EQ(cache_->stats().damage_reports, 4u);
  EXPECT_EQ(cache_->stats().ram.damaged, 1u);
}

TEST_F(PageCacheTest, AnIntactPageThatClientsRefuseTwiceMakesRoomForAnHonestOne) {
  OpenSpace space = open(sample_descriptor());
  put_new(space, 1, 0, {.first_position = 64});  // whole, but no client takes it here
  codec::EncodingId id = get(space, 1)->encoding_id;
  EXPECT_FALSE(calls().damaged(space, page_key_of(1), id));
  EXPECT_TRUE(get(space, 1).has_value());
  EXPECT_TRUE(calls().damaged(space, page_key_of(1), id));
  EXPECT_EQ(get(space, 1).error().code, Errc::not_found);
  put_new(space, 1);
}

TEST_F(PageCacheTest, ATenantsReportIsNoSecondOneOfAnothers) {
  OpenSpace space = open(sample_descriptor());
  put_new(space, 1);
  OpenSpace other = open(sample_descriptor(), 0, 7);
  Bytes page = put_new(other, 1);
  codec::EncodingId id = get(space, 1)->encoding_id;
  EXPECT_FALSE(calls().damaged(space, page_key_of(1), id));
  EXPECT_FALSE(calls().damaged(other, page_key_of(1), id));
  EXPECT_EQ(joined(*get(other, 1)), page);
}

TEST_F(PageCacheTest, ErasesWhatIsThere) {
  OpenSpace space = open(sample_descriptor());
  put_new(space, 1);
  put_new(space, 2, 1);
  Hash32 keys[] = {page_key_of(1), page_key_of(3), page_key_of(1)};
  EXPECT_EQ(*calls().erase(space, keys), 1u);
  EXPECT_EQ(get(space, 1).error().code, Errc::not_found);
  EXPECT_TRUE(get(space, 2).has_value());
}

TEST_F(PageCacheTest, LookupCountsTheCommonPrefixOverGroups) {
  OpenSpace full = open(sample_descriptor());
  Descriptor windowed = sample_descriptor();
  windowed.attention = AttentionKind::window;
  windowed.window = 64;
  windowed.layers = {4, 5, 6, 7};
  OpenSpace window = open(windowed);
  std::vector<Hash32> full_keys;
  std::vector<Hash32> window_keys;
  uint64_t page_bytes = 0;
  for (uint64_t i = 1; i <= 6; ++i) {
    full_keys.push_back(page_key_of(i));
    window_keys.push_back(page_key_of(100 + i));
    if (i <= 5) {
      page_bytes = put_new(full, i, i - 1).size();
    }
    if (i == 3 || i == 4) {
      put_new(window, 100 + i, i);
    }
  }
  GroupQuery groups[] = {{.open = &full, .window_pages = 0, .keys = full_keys},
                         {.open = &window, .window_pages = 2, .keys = window_keys}};
  auto answer = cache_->lookup(groups, 0);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->common_pages, 4u);
  EXPECT_EQ(answer->miss_reason, "");
  ASSERT_EQ(answer->groups.size(), 2u);
  EXPECT_EQ(answer->groups[0].hit_pages, 5u);
  EXPECT_EQ(answer->groups[0].first_page, 0u);
  ASSERT_EQ(answer->groups[0].pages.size(), 4u);
  EXPECT_EQ(answer->groups[0].pages[3].rows, 1u);
  EXPECT_EQ(answer->groups[0].pages[3].stored_bytes, page_bytes);
  EXPECT_EQ(answer->groups[1].hit_pages, 0u);
  EXPECT_EQ(answer->groups[1].first_page, 2u);
  EXPECT_EQ(answer->groups[1].pages.size(), 2u);
  EXPECT_EQ(cache_->stats().lookup_pages, 12u);
  EXPECT_EQ(cache_->stats().lookup_hit_pages, 6u);
}

TEST_F(PageCacheTest, LookupStopsWhereQualityIsWorseThanAskedFor) {
  OpenSpace space = open(sample_descriptor());
  std::vector<Hash32> keys = {page_key_of(1), page_key_of(2)};
  put_new(space, 1, 0, {.provenance_kl = 10});
  put_new(space, 2, 1, {.provenance_kl = 20});
  GroupQuery group{.open = &space, .window_pages = 0, .keys = keys};
  EXPECT_EQ(cache_->lookup({&group, 1}, 10)->common_pages, 1u);
  auto both = cache_->lookup({&group, 1}, 20);
  EXPECT_EQ(both->common_pages, 2u);
  EXPECT_EQ(both->groups[0].pages[1].kl, 20u);
  auto none = cache_->lookup({&group, 1}, 9);
  EXPECT_EQ(none->common_pages, 0u);
  EXPECT_NE(none->miss_reason.find("quality 10 micro-nats where at most 9"), std::string::npos)
      << none->miss_reason;
}

TEST_F(PageCacheTest, ALookupWithoutAHitNamesTheFieldThatDiffers) {
  put_new(open(sample_descriptor()), 1);
  Descriptor other = sample_descriptor();
  other.planes[0].dtype = other.planes[1].dtype = DType::bf16;
  OpenSpace space = open(other);
  std::vector<Hash32> keys = {page_key_of(50)};
  GroupQuery group{.open = &space, .window_pages = 0, .keys = keys};
  auto answer = cache_->lookup({&group, 1}, 0);
  ASSERT_TRUE(answer.has_value());
  EXPECT_NE(answer->miss_reason.find("bf16 here, f16 there"), std::string::npos)
      << answer->miss_reason;
}

TEST_F(PageCacheTest, ALookupKeepsWhatItFoundUntilItsReaderComes) {
  cache_ = *PageCache::open({.ram = {.capacity_bytes = 128 << 10}});
  OpenSpace space = open(sample_descriptor());
  uint64_t number = 1;
  while (cache_->stats().ram.evicted_leaves == 0) {
    std::vector<Hash32> keys = {page_key_of(1)};
    GroupQuery group{.open = &space, .window_pages = 0, .keys = keys};
    put_new(space, number, 0, {.seed = number});
    EXPECT_EQ(cache_->lookup({&group, 1}, 0)->common_pages, 1u);
    ++number;
  }
  EXPECT_TRUE(get(space, 1).has_value());
  EXPECT_EQ(get(space, 2).error().code, Errc::not_found);
}

TEST_F(PageCacheTest, RefusesALookupOverPagesOfUnequalLength) {
  OpenSpace a = open(sample_descriptor(32));
  OpenSpace b = open(sample_descriptor(64));
  GroupQuery groups[] = {{.open = &a, .window_pages = 0, .keys = {}},
                         {.open = &b, .window_pages = 0, .keys = {}}};
  EXPECT_EQ(cache_->lookup(groups, 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(cache_->lookup({}, 0)->common_pages, 0u);
}

}  // namespace
}  // namespace sluice::cache
