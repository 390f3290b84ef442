#include "store/ram_tier.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>

#include "src/base/limits.h"
#include "tests/store/sample_record.h"

namespace sluice::store {
namespace {

// Of a record of three sections, beside its extent; and what one of 640 bytes takes of a tier.
constexpr uint64_t kCharge = kRecordOverheadBytes + 3 * kSectionOverheadBytes;
constexpr uint64_t kSlot = (640 + kCharge + kExtentAlign - 1) / kExtentAlign * kExtentAlign;

std::unique_ptr<RamTier> open_tier(uint64_t capacity_bytes, uint64_t tenant_bytes_max = 0) {
  auto tier =
      RamTier::open({.capacity_bytes = capacity_bytes, .tenant_bytes_max = tenant_bytes_max});
  EXPECT_TRUE(tier.has_value());
  return *std::move(tier);
}

Status put(RamTier& tier, const Sample& sample) {
  SLUICE_TRY(Reservation room,
             tier.reserve(sample.record.tenant, sample.record.anchor, sample.bytes.size()));
  std::copy(sample.bytes.begin(), sample.bytes.end(), room.bytes().begin());
  return tier.commit(std::move(room), sample.record);
}

// Puts record `number` of 640 bytes under `anchor` (0: none).
Sample put_new(RamTier& tier, uint64_t number, uint64_t anchor = 0, uint32_t tenant = 0) {
  Sample sample = make_sample({.seed = number,
                               .bytes = 640,
                               .tenant = tenant,
                               .key = key_of(number),
                               .anchor = anchor == 0 ? kNoAnchor : key_of(anchor)});
  EXPECT_EQ(sample.record.sections.size(), 3u);
  Status status = put(tier, sample);
  EXPECT_TRUE(status.has_value()) << status.error().to_string();
  return sample;
}

bool equal(ByteSpan a, ByteSpan b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// A byte in the arena rots.
void damage(const PageRef& page, size_t offset) {
  const_cast<uint8_t*>(page.bytes().data())[offset] ^= 0x20;
}

TEST(RamTier, RefusesACapacityThatMakesNoSense) {
  EXPECT_EQ(RamTier::open({.capacity_bytes = 0}).error().code, Errc::bad_config);
  EXPECT_EQ(RamTier::open({.capacity_bytes = 1000}).error().code, Errc::bad_config);
  EXPECT_EQ(RamTier::open({.capacity_bytes = 1ull << 62}).error().code, Errc::bad_config);
  EXPECT_EQ(RamTier::open({.capacity_bytes = 6400, .tenant_bytes_max = 6401}).error().code,
            Errc::bad_config);
}

TEST(RamTier, SaysWhenTheMachineRefusesTheMemory) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  uint64_t mapped_pages = 0;
  std::ifstream("/proc/self/statm") >> mapped_pages;
  rlimit tight = before;
  tight.rlim_cur = mapped_pages * 4096 + (1ull << 30);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
  auto tier = RamTier::open({.capacity_bytes = 8ull << 30});
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  ASSERT_TRUE(tier.has_error());
  EXPECT_EQ(tier.error().code, Errc::io_error);
}

TEST(RamTier, ReadsBackWhatWasPut) {
  auto tier = open_tier(1 << 20);
  Sample sample = put_new(*tier, 1);
  ASSERT_NE(tier->find(0, key_of(1)), nullptr);
  EXPECT_EQ(*tier->find(0, key_of(1)), sample.record);
  auto page = tier->read(0, key_of(1));
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->record(), sample.record);
  EXPECT_TRUE(equal(page->bytes(), sample.bytes));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(page->bytes().data()) % kExtentAlign, 0u);
  RamTierStats stats = tier->stats();
  EXPECT_EQ(stats.records, 1u);
  EXPECT_EQ(stats.stored, 1u);
  EXPECT_EQ(stats.hits, 1u);
  EXPECT_EQ(stats.bytes, 640 + kCharge);
  EXPECT_EQ(stats.held_bytes, 0u);
}

TEST(RamTier, AnAbsentRecordIsNotFound) {
  auto tier = open_tier(1 << 20);
  put_new(*tier, 1);
  EXPECT_EQ(tier->read(0, key_of(2)).error().code, Errc::not_found);
  EXPECT_EQ(tier->find(0, key_of(2)), nullptr);
  EXPECT_FALSE(tier->erase(0, key_of(2)));
  EXPECT_EQ(tier->stats().misses, 1u);
}

TEST(RamTier, TenantsNeverSeeEachOther) {
  auto tier = open_tier(1 << 20);
  put_new(*tier, 1, 0, 7);
  EXPECT_EQ(tier->read(8, key_of(1)).error().code, Errc::not_found);
  EXPECT_FALSE(tier->erase(8, key_of(1)));
  EXPECT_TRUE(tier->read(7, key_of(1)).has_value());
}

TEST(RamTier, ATornPutLeavesNothing) {
  auto tier = open_tier(1 << 20);
  {
    auto room = tier->reserve(0, kNoAnchor, 5000);
    ASSERT_TRUE(room.has_value());
    std::fill(room->bytes().begin(), room->bytes().begin() + 2000, uint8_t{1});
    EXPECT_GE(tier->stats().reserved_bytes, 5000u);
  }
  RamTierStats stats = tier->stats();
  EXPECT_EQ(stats.reserved_bytes, 0u);
  EXPECT_EQ(stats.bytes + stats.held_bytes + stats.records, 0u);
}

TEST(RamTier, APutWhoseBytesDisagreeLeavesNothing) {
  auto tier = open_tier(1 << 20);
  Sample sample = make_sample({.seed = 1});
  sample.bytes[500] ^= 1;
  EXPECT_EQ(put(*tier, sample).error().code, Errc::bad_checksum);
  sample.bytes.resize(900);
  EXPECT_EQ(put(*tier, sample).error().code, Errc::truncated);
  EXPECT_EQ(tier->find(0, sample.record.key), nullptr);
  EXPECT_EQ(tier->stats().reserved_bytes, 0u);
}

TEST(RamTier, APutThatWouldCloseARingOfAnchorsLeavesNothing) {
  auto tier = open_tier(1 << 20);
  put_new(*tier, 2, 1);
  Sample ring = make_sample({.seed = 1, .key = key_of(1), .anchor = key_of(2)});
  EXPECT_EQ(put(*tier, ring).error().code, Errc::invalid_argument);
  EXPECT_EQ(tier->stats().records, 1u);
  EXPECT_EQ(tier->stats().reserved_bytes, 0u);
}

TEST(RamTier, AReplacedRecordStaysWithThoseThatHoldIt) {
  auto tier = open_tier(1 << 20);
  Sample old_sample = put_new(*tier, 1);
  {
    auto held = tier->read(0, key_of(1));
    ASSERT_TRUE(held.has_value());
    Sample new_sample = make_sample({.seed = 99, .bytes = 320, .key = key_of(1)});
    ASSERT_TRUE(put(*tier, new_sample).has_value());
    EXPECT_TRUE(equal(held->bytes(), old_sample.bytes));
    EXPECT_TRUE(equal(tier->read(0, key_of(1))->bytes(), new_sample.bytes));
    EXPECT_EQ(tier->stats().held_bytes, 640u);
    EXPECT_EQ(tier->stats().replaced, 1u);
    EXPECT_EQ(tier->stats().records, 1u);
  }
  EXPECT_EQ(tier->stats().held_bytes, 0u);
  EXPECT_EQ(tier->stats().bytes, 320 + kCharge);
}

TEST(RamTier, WhatAReaderHoldsOutlivesTheTier) {
  auto tier = open_tier(1 << 20);
  Sample sample = put_new(*tier, 1);
  std::shared_ptr<const void> keep_alive;
  ByteSpan bytes;
  {
    auto page = tier->read(0, key_of(1));
    keep_alive = page->keep_alive();
    bytes = page->bytes();
  }
  tier.reset();
  EXPECT_TRUE(equal(bytes, sample.bytes));
}

TEST(RamTier, EveryDamagedByteIsFoundBeforeAnybodyReadsIt) {
  auto tier = open_tier(1 << 20);
  for (size_t i = 0; i < 640; ++i) {
    put_new(*tier, 1);
    damage(*tier->read(0, key_of(1)), i);
    auto page = tier->read(0, key_of(1));
    ASSERT_TRUE(page.has_error()) << "byte " << i;
    ASSERT_EQ(page.error().code, Errc::damaged);
    ASSERT_EQ(tier->read(0, key_of(1)).error().code, Errc::not_found);
  }
  EXPECT_EQ(tier->stats().damaged, 640u);
  EXPECT_EQ(tier->stats().records, 0u);
  EXPECT_EQ(tier->stats().bytes, 0u);
}

TEST(RamTier, ARecheckTakesOutOnlyWhatIsDamaged) {
  auto tier = open_tier(1 << 20);
  Sample sample = put_new(*tier, 1);
  EncodingId other = sample.record.encoding_id;
  other[0] ^= 1;
  EXPECT_FALSE(*tier->recheck(0, key_of(1), sample.record.encoding_id));
  damage(*tier->read(0, key_of(1)), 100);
  EXPECT_EQ(tier->recheck(0, key_of(1), other).error().code, Errc::not_found);
  EXPECT_EQ(tier->recheck(0, key_of(2), other).error().code, Errc::not_found);
  EXPECT_NE(tier->find(0, key_of(1)), nullptr);
  EXPECT_TRUE(*tier->recheck(0, key_of(1), sample.record.encoding_id));
  EXPECT_EQ(tier->find(0, key_of(1)), nullptr);
  EXPECT_EQ(tier->stats().damaged, 1u);
}

TEST(RamTier, FullMemoryEvictsOrphansThenLeavesByLastUse) {
  auto tier = open_tier(4 * kSlot);
  put_new(*tier, 1);
  put_new(*tier, 2, 1);
  put_new(*tier, 3);
  put_new(*tier, 5, 4);
  tier->touch(0, key_of(2));
  tier->touch(0, key_of(9));
  put_new(*tier, 6);
  EXPECT_EQ(tier->find(0, key_of(5)), nullptr);
  EXPECT_EQ(tier->stats().evicted_orphans, 1u);
  put_new(*tier, 7);
  EXPECT_EQ(tier->find(0, key_of(3)), nullptr);
  put_new(*tier, 8);
  EXPECT_EQ(tier->find(0, key_of(2)), nullptr);
  EXPECT_NE(tier->find(0, key_of(1)), nullptr);
  EXPECT_EQ(tier->stats().evicted_leaves, 2u);
}

TEST(RamTier, AChainThatFillsTheMemoryKeepsItsFrontAndRefusesItsRest) {
  auto tier = open_tier(4 * kSlot);
  for (uint64_t i = 1; i <= 4; ++i) {
    put_new(*tier, i, i - 1);
  }
  auto refused = tier->reserve(0, key_of(4), 640);
  ASSERT_TRUE(refused.has_error());
  EXPECT_EQ(refused.error().code, Errc::no_space);
  EXPECT_NE(refused.error().text.find("no room for 640 bytes of tenant 0"), std::string::npos)
      << refused.error().text;
  EXPECT_EQ(tier->stats().records, 4u);
  EXPECT_EQ(tier->stats().refused, 1u);
}

TEST(RamTier, WhatReadersHoldCountsUntilTheyLetGo) {
  constexpr uint64_t kLarge = 16 << 10;
  auto tier = open_tier(4 * (kLarge + kSlot) + kSlot);
  std::vector<PageRef> held;
  for (uint64_t i = 1; i <= 4; ++i) {
    ASSERT_TRUE(
        put(*tier, make_sample({.seed = i, .bytes = kLarge, .key = key_of(i)})).has_value());
    held.push_back(*tier->read(0, key_of(i)));
    tier->erase(0, key_of(i));
  }
  put_new(*tier, 5);
  EXPECT_EQ(tier->stats().held_bytes, 4 * kLarge);
  // Evicting what is stored would not make enough room, so it stays.
  EXPECT_EQ(tier->reserve(0, kNoAnchor, kLarge).error().code, Errc::no_space);
  EXPECT_EQ(tier->stats().records, 1u);
  held.clear();
  EXPECT_EQ(tier->stats().held_bytes, 0u);
  EXPECT_TRUE(tier->reserve(0, kNoAnchor, kLarge).has_value());
}

TEST(RamTier, SectionSumsAreChargedAsManyAsThereAre) {
  // Pages of many empty sections once took 650 MB beside a tier of 256 MiB.
  constexpr uint32_t kSections = 2000;
  auto tier = open_tier(256 << 10);
  for (uint64_t i = 1; i <= 20; ++i) {
    Sample sample = make_sample(
        {.seed = i, .bytes = 40'000, .key = key_of(i), .anchor = kNoAnchor, .sections = 1});
    sample.record.sections.resize(kSections,
                                  {.end = sample.record.bytes(), .xxh3 = xxh3_64(ByteSpan())});
    set_rows(sample.record, kSections);
    ASSERT_TRUE(put(*tier, sample).has_value());
  }
  RamTierStats stats = tier->stats();
  EXPECT_EQ(stats.bytes,
            stats.records * (Arena::extent_bytes(40'000) + kRecordOverheadBytes +
                             kSections * kSectionOverheadBytes));
  EXPECT_LE(stats.bytes, 256u << 10);
}

TEST(RamTier, SectionSumsThatDoNotFitRefuseTheRecord) {
  auto tier = open_tier(16 * kSlot);
  Sample sample = make_sample({.seed = 1, .bytes = 640, .key = key_of(1), .sections = 1});
  sample.record.sections.resize(2000, {.end = sample.record.bytes(), .xxh3 = xxh3_64(ByteSpan())});
  set_rows(sample.record, 2000);
  EXPECT_EQ(put(*tier, sample).error().code, Errc::no_space);
  EXPECT_EQ(tier->stats().records + tier->stats().reserved_bytes, 0u);
}

Sample put_rows(RamTier& tier) {
  Sample sample = make_sample({.seed = 1, .bytes = 6400, .key = key_of(1), .row_a_section = true});
  EXPECT_TRUE(put(tier, sample).has_value());
  return sample;
}

TEST(RamTier, ACutRecordIsItsFirstRowsAndGivesTheRestBack) {
  auto tier = open_tier(1 << 20);
  const Sample sample = put_rows(*tier);
  const uint64_t before = tier->stats().bytes;
  ASSERT_TRUE(tier->cut(0, key_of(1), sample.record.encoding_id, 1).has_value());
  auto page = tier->read(0, key_of(1));
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->record().rows.count, 1u);
  const uint64_t left = sample.record.rows.ends[0].end;
  EXPECT_TRUE(equal(page->bytes(), ByteSpan(sample.bytes).first(left)));
  EXPECT_EQ(before - tier->stats().bytes,
            Arena::extent_bytes(6400) - Arena::extent_bytes(left) + 2 * kSectionOverheadBytes);
  EXPECT_EQ(tier->stats().held_bytes, 0u);
  EXPECT_TRUE(tier->erase(0, key_of(1)));
  EXPECT_EQ(tier->stats().bytes, 0u);
}

TEST(RamTier, ACutThatTakesNothingOrAllIsRefused) {
  auto tier = open_tier(1 << 20);
  const EncodingId id = put_rows(*tier).record.encoding_id;
  EXPECT_EQ(tier->cut(0, key_of(1), id, 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(tier->cut(0, key_of(1), id, 3).error().code, Errc::invalid_argument);
  EXPECT_EQ(tier->cut(0, key_of(2), id, 1).error().code, Errc::not_found);
  EXPECT_EQ(tier->cut(0, key_of(1), EncodingId{}, 1).error().code, Errc::not_found);
}

TEST(RamTier, ARecordThatIsReadIsNotCut) {
  auto tier = open_tier(1 << 20);
  const Sample sample = put_rows(*tier);
  {
    auto page = tier->read(0, key_of(1));
    EXPECT_EQ(tier->cut(0, key_of(1), sample.record.encoding_id, 1).error().code, Errc::overloaded);
    EXPECT_TRUE(equal(page->bytes(), sample.bytes));
  }
  EXPECT_TRUE(tier->cut(0, key_of(1), sample.record.encoding_id, 1).has_value());
}

TEST(RamTier, DamageInARowThatNobodyReadsTakesNothingOut) {
  auto tier = open_tier(1 << 20);
  const Sample sample = put_rows(*tier);
  const std::vector<SectionRun> first = {{.first = 0, .count = 1}};
  damage(*tier->hold(0, key_of(1)), sample.bytes.size() - 1);
  EXPECT_TRUE(tier->read(0, key_of(1), first).has_value());
  EXPECT_EQ(tier->read(0, key_of(1), {{{.first = 3, .count = 1}}}).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(tier->stats().damaged, 0u);
  EXPECT_EQ(tier->read(0, key_of(1)).error().code, Errc::damaged);
  EXPECT_EQ(tier->read(0, key_of(1), first).error().code, Errc::not_found);
}

TEST(RamTier, ATenantOverItsShareEvictsItsOwnOnly) {
  auto tier = open_tier(1 << 20, 2 * (640 + kCharge));
  put_new(*tier, 1, 0, 1);
  put_new(*tier, 2, 0, 2);
  put_new(*tier, 3, 0, 2);
  put_new(*tier, 4, 0, 2);
  EXPECT_NE(tier->find(1, key_of(1)), nullptr);
  EXPECT_EQ(tier->find(2, key_of(2)), nullptr);
  put_new(*tier, 5, 3, 2);
  EXPECT_EQ(tier->reserve(2, key_of(5), 640).error().code, Errc::no_space);
}

TEST(RamTier, SizesThatCanNeverFitAreRefusedBeforeAnythingIsEvicted) {
  auto tier = open_tier(4 * kSlot);
  put_new(*tier, 1);
  EXPECT_EQ(tier->reserve(0, kNoAnchor, 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(tier->reserve(0, kNoAnchor, 8000).error().code, Errc::too_large);
  EXPECT_EQ(tier->reserve(0, kNoAnchor, UINT64_MAX).error().code, Errc::too_large);
  EXPECT_EQ(open_tier(1ull << 30)->reserve(0, kNoAnchor, kPageBytesMax + 1).error().code,
            Errc::too_large);
  EXPECT_EQ(tier->stats().records, 1u);
}

TEST(RamTier, SlowPutsHoldAQuarterAtMost) {
  auto tier = open_tier(1 << 20);
  put_new(*tier, 1);
  auto first = tier->reserve(0, kNoAnchor, 200 << 10);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(tier->reserve(0, kNoAnchor, 100 << 10).error().code, Errc::overloaded);
  EXPECT_TRUE(tier->reserve(0, kNoAnchor, 40 << 10).has_value());
  EXPECT_NE(tier->find(0, key_of(1)), nullptr);
  // Nor does one alone: a put may never send what it announced.
  { Reservation ended = *std::move(first); }
  EXPECT_EQ(tier->reserve(0, kNoAnchor, 256 << 10).error().code, Errc::too_large);
}

TEST(RamTier, ScatteredReadersCanRefuseALargePutButNotForEver) {
  // The worst case: every second record is held, so that no two free runs are neighbours.
  auto tier = open_tier(64 * (4096 + kCharge));
  std::vector<PageRef> held;
  for (uint64_t i = 1; i <= 64; ++i) {
    Sample sample = make_sample({.seed = i, .bytes = 4096, .key = key_of(i)});
    ASSERT_TRUE(put(*tier, sample).has_value());
    if (i % 2 == 0) {
      held.push_back(*tier->read(0, key_of(i)));
    }
  }
  EXPECT_EQ(tier->reserve(0, kNoAnchor, 80'000).error().code, Errc::no_space);
  held.clear();
  EXPECT_TRUE(tier->reserve(0, kNoAnchor, 80'000).has_value());
}

TEST(RamTier, PagesOfUnequalSizesStillFillTheArena) {
  // Documents of 1..60 pages, put and taken out as chains, sizes within 5 % as `direct` gives them.
  constexpr uint64_t kCapacity = 8 << 20;
  auto tier = open_tier(kCapacity);
  Prng prng(11);
  uint64_t number = 0;
  double filled = 0;
  int samples = 0;
  for (int document = 0; document < 600; ++document) {
    uint64_t pages = 1 + prng.below(60);
    for (uint64_t i = 0; i < pages; ++i) {
      size_t bytes = 20'000 + prng.below(1000);
      Sample sample = make_sample({.seed = ++number,
                                   .bytes = bytes,
                                   .key = key_of(number),
                                   .anchor = i == 0 ? kNoAnchor : key_of(number - 1)});
      ASSERT_TRUE(put(*tier, sample).has_value());
    }
    if (document > 50) {
      filled += static_cast<double>(tier->stats().bytes) / static_cast<double>(kCapacity);
      samples += 1;
    }
  }
  RecordProperty("filled_percent", static_cast<int>(100 * filled / samples));
  EXPECT_GT(filled / samples, 0.9);
}

TEST(RamTier, TheChargeCoversWhatTheIndexReallyTakes) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "ASan has its own heap";
#else
  auto tier = open_tier(1ull << 30);
  size_t before = mallinfo2().uordblks;
  constexpr uint64_t kRecords = 1000;
  for (uint64_t i = 1; i <= kRecords; ++i) {
    Sample sample = make_sample({.seed = i,
                                 .bytes = 100'000,
                                 .key = key_of(i),
                                 .anchor = i % 31 == 1 ? kNoAnchor : key_of(i - 1),
                                 .sections = 20});
    ASSERT_TRUE(put(*tier, sample).has_value());
  }
  size_t index_bytes = mallinfo2().uordblks - before;
  uint64_t charged = tier->stats().bytes - kRecords * Arena::extent_bytes(100'000);
  RecordProperty("index_bytes_a_record", static_cast<int>(index_bytes / kRecords));
  EXPECT_LE(index_bytes, charged);
  EXPECT_GE(index_bytes, charged / 2);
#endif
}

}  // namespace
}  // namespace sluice::store
