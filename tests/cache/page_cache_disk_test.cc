// PageCache over RAM and a simulated disk: what stays, what comes back, what never does.
#include <gtest/gtest.h>

#include "src/base/limits.h"
#include "tests/cache/cache_on_disk.h"

namespace sluice::cache {
namespace {

using PageCacheDiskTest = CacheOnDisk;

TEST_F(PageCacheDiskTest, AnAckedPageSurvivesLossOfPower) {
  Bytes page = put(1, Durability::disk);
  lose_power();
  EXPECT_EQ(cache_->stats().ram.records, 0u);
  EXPECT_EQ(lookup({page_key_of(1)}), 1u);
  EXPECT_EQ(bytes_of_page(1), page);
  EXPECT_EQ(cache_->stats().promoted, 1u);
  EXPECT_TRUE(in_ram(1));
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheDiskTest, APutThatWaitsForRamIsAnsweredAtOnceAndGoesToDiskBehindIt) {
  Bytes page = page_of(1);
  PendingPut pending = *cache_->put_begin(space_, page_key_of(1), {}, page.size());
  std::copy(page.begin(), page.end(), pending.destination().begin());
  bool answered = false;
  cache_->put_end(std::move(pending), [&](Result<PutOutcome> outcome) {
    answered = outcome.has_value() && *outcome == PutOutcome::stored;
  });
  EXPECT_TRUE(answered);
  EXPECT_FALSE(disk_->find(0, page_key_of(1)).has_value());
  runner_.finish();
  EXPECT_TRUE(disk_->find(0, page_key_of(1)).has_value());
  restart();
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheDiskTest, APageThatLeftRamIsReadFromDiskAndPromoted) {
  Bytes page = put(1);
  push_all_out();
  EXPECT_FALSE(in_ram(1));
  EXPECT_EQ(cache_->stats().promoted, 1u);
  EXPECT_TRUE(in_ram(1));
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheDiskTest, ReadersOfOnePageShareOneRead) {
  put(1, Durability::disk);
  restart();
  int answered = 0;
  for (int i = 0; i < 5; ++i) {
    cache_->get(space_, {.key = page_key_of(1)}, [&](Result<PageAnswer> answer) {
      answered += answer.has_value() ? 1 : 0;
    });
  }
  EXPECT_EQ(answered, 0);
  runner_.finish();
  EXPECT_EQ(answered, 5);
  EXPECT_EQ(cache_->stats().disk->hits, 1u);
}

TEST_F(PageCacheDiskTest, APageReadFromDiskIsAnsweredOutOfRam) {
  put(1, Durability::disk);
  restart();
  Result<PageAnswer> from_disk = get(1);
  Result<PageAnswer> from_ram = get(1);
  ASSERT_TRUE(from_disk.has_value() && from_ram.has_value());
  EXPECT_EQ(from_disk->header.data(), from_ram->header.data());
  EXPECT_EQ(cache_->stats().disk->hits, 1u);
}

TEST_F(PageCacheDiskTest, APageThatRamHasNoRoomForIsAnsweredAllTheSame) {
  Bytes page = put(1, Durability::disk);
  restart();
  std::vector<PendingPut> pending;
  Result<PendingPut> more = cache_->put_begin(space_, page_key_of(2), {}, page.size());
  while (more.has_value()) {
    pending.push_back(*std::move(more));
    more = cache_->put_begin(space_, page_key_of(2), {}, page.size());
  }
  EXPECT_EQ(bytes_of_page(1), page);
  EXPECT_EQ(cache_->stats().promoted, 0u);
}

TEST_F(PageCacheDiskTest, EveryGetIsAHitOrAMissOfEachTierItCameTo) {
  put(1, Durability::disk);
  put(2, Durability::disk);
  restart();
  EXPECT_TRUE(get(1).has_value());   // of the disk
  EXPECT_TRUE(get(1).has_value());   // of RAM
  EXPECT_FALSE(get(3).has_value());  // of none
  EXPECT_FALSE(calls().get(space_, {.key = page_key_of(1), .encoding_id = {1}}).has_value());
  for (int i = 0; i < 3; ++i) {  // one read
    cache_->get(space_, {.key = page_key_of(2)}, [](auto) {});
  }
  runner_.finish();
  const PageCacheStats stats = cache_->stats();
  EXPECT_EQ(stats.ram_gets.hits, 1u);
  EXPECT_EQ(stats.ram_gets.misses, 6u);
  EXPECT_EQ(stats.disk_gets.hits, 4u);
  EXPECT_EQ(stats.disk_gets.misses, 2u);
}

TEST_F(PageCacheDiskTest, AWriteCountsOncePerPageAndPerDelete) {
  put(1, Durability::disk);
  put(2, Durability::disk);
  EXPECT_EQ(cache_->stats().disk->written, 2u);
  std::vector<Key> keys = {page_key_of(1), page_key_of(2), page_key_of(2)};
  EXPECT_EQ(*calls().erase(space_, keys), 2u);
  EXPECT_EQ(cache_->stats().disk->written, 3u);
}

TEST_F(PageCacheDiskTest, APageTooLargeForTheLogIsServedAndCounted) {
  cache_.reset();
  disk_config_ = {.capacity_bytes = 256 << 10, .segment_bytes = 64 << 10};
  device_.files().clear();
  start();
  Bytes page = page_of(1, {.encoding = codec::Encoding::raw});
  const Key key = page_key_of(1);
  EXPECT_EQ(*calls().put(space_, key, page), PutOutcome::stored);
  EXPECT_EQ(cache_->stats().too_large_writes, 1u);
  EXPECT_EQ(calls().put(space_, key, page, {}, Durability::disk).error().code, Errc::too_large);
  EXPECT_EQ(cache_->stats().too_large_writes, 2u);
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheDiskTest, ADeletedPageNeverComesBack) {
  put(1, Durability::disk);
  put(2);  // its write still waits
  std::vector<Key> keys = {page_key_of(1), page_key_of(2), page_key_of(3)};
  EXPECT_EQ(*calls().erase(space_, keys), 2u);
  EXPECT_EQ(get(1).error().code, Errc::not_found);
  EXPECT_EQ(get(2).error().code, Errc::not_found);
  lose_power();
  EXPECT_EQ(get(1).error().code, Errc::not_found);
  EXPECT_EQ(get(2).error().code, Errc::not_found);
  runner_.finish();
  restart();
  EXPECT_EQ(lookup(keys), 0u);
}

TEST_F(PageCacheDiskTest, APageDamagedInRamIsServedFromDisk) {
  Bytes page = put(1, Durability::disk);
  const_cast<uint8_t*>(get(1)->header.data())[50] ^= 1;
  EXPECT_EQ(bytes_of_page(1), page);
  EXPECT_EQ(cache_->stats().ram.damaged, 1u);
  EXPECT_EQ(cache_->stats().promoted, 1u);
}

TEST_F(PageCacheDiskTest, APageDamagedOnDiskIsAMissAndGone) {
  put(1, Durability::disk);
  restart();
  for (auto& [name, content] : device_.files()) {
    for (uint64_t at = 8192; at < content->now.size(); at += 4096) {
      store::SimDevice::flip(*content, at, 3);
    }
  }
  EXPECT_EQ(get(1).error().code, Errc::damaged);
  EXPECT_EQ(get(1).error().code, Errc::not_found);
  EXPECT_EQ(cache_->stats().disk->damaged, 1u);
  EXPECT_EQ(cache_->stats().promoted, 0u);
}

TEST_F(PageCacheDiskTest, APageThatTheDiskCannotReadIsWrittenAnewByItsNextPut) {
  Bytes page = put(1, Durability::disk);
  restart();
  device_.faults.read_error = 1000;
  EXPECT_EQ(get(1).error().code, Errc::io_error);
  EXPECT_EQ(get(1).error().code, Errc::not_found);
  put(1, Durability::disk);
  device_.faults.read_error = 0;
  EXPECT_EQ(cache_->stats().disk->written, 1u);
  for (auto& [name, content] : device_.files()) {
    store::SimDevice::flip(*content, 2 * 4096, 3);  // in the first one
  }
  lose_power();
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheDiskTest, ADamageReportIsCheckedOnDiskToo) {
  put(1, Durability::disk);
  const codec::EncodingId id = get(1)->encoding_id;
  restart();
  // Intact: believed the second time only, and then it is gone from disk for good.
  EXPECT_FALSE(calls().damaged(space_, page_key_of(1), id));
  EXPECT_EQ(lookup({page_key_of(1)}), 1u);
  EXPECT_TRUE(calls().damaged(space_, page_key_of(1), id));
  EXPECT_EQ(lookup({page_key_of(1)}), 0u);
  runner_.finish();
  restart();
  EXPECT_EQ(lookup({page_key_of(1)}), 0u);
  EXPECT_FALSE(calls().damaged(space_, page_key_of(1), id));
}

TEST_F(PageCacheDiskTest, AWorsePageNeverReplacesTheOneOnDisk) {
  put(1, Durability::disk);
  Bytes best = bytes_of_page(1);
  restart();
  Bytes worse = page_of(1, {.provenance_kl = 300});
  EXPECT_EQ(*calls().put(space_, page_key_of(1), worse), PutOutcome::unchanged);
  EXPECT_EQ(bytes_of_page(1), best);
  restart();
  EXPECT_EQ(bytes_of_page(1), best);
}

TEST_F(PageCacheDiskTest, AWorsePageNeverReplacesTheOneOnDiskThatIsDamagedInRam) {
  Bytes best = put(1, Durability::disk);
  const_cast<uint8_t*>(get(1)->header.data())[50] ^= 1;
  Bytes worse = page_of(1, {.provenance_kl = 300});
  EXPECT_EQ(*calls().put(space_, page_key_of(1), worse), PutOutcome::unchanged);
  EXPECT_EQ(bytes_of_page(1), best);
  runner_.finish();
  restart();
  EXPECT_EQ(bytes_of_page(1), best);
}

TEST_F(PageCacheDiskTest, ABetterPageReplacesTheOneOnDisk) {
  Bytes worse = page_of(1, {.provenance_kl = 300});
  EXPECT_EQ(*calls().put(space_, page_key_of(1), worse, {}, Durability::disk), PutOutcome::stored);
  restart();
  Bytes better = page_of(1);
  EXPECT_EQ(*calls().put(space_, page_key_of(1), better, {}, Durability::disk),
            PutOutcome::replaced);
  lose_power();
  EXPECT_EQ(bytes_of_page(1), better);
}

TEST_F(PageCacheDiskTest, AtEqualQualityTheFirstPageOnDiskStays) {
  put(1, Durability::disk);
  Bytes first = bytes_of_page(1);
  restart();
  Bytes equal = page_of(1, {.seed = 99});
  ASSERT_NE(equal, first);
  for (Durability durability : {Durability::ram, Durability::disk}) {
    EXPECT_EQ(*calls().put(space_, page_key_of(1), equal, {}, durability), PutOutcome::unchanged);
    EXPECT_EQ(cache_->stats().ram.records, 0u);
  }
  EXPECT_EQ(bytes_of_page(1), first);
  lose_power();
  EXPECT_EQ(bytes_of_page(1), first);
}

TEST_F(PageCacheDiskTest, APageThatIsOnDiskComesIntoRamWhenItIsPutAgain) {
  Bytes page = put(1, Durability::disk);
  restart();
  EXPECT_EQ(*calls().put(space_, page_key_of(1), page), PutOutcome::unchanged);
  EXPECT_TRUE(in_ram(1));
  EXPECT_EQ(cache_->stats().disk->written, 0u);
}

TEST_F(PageCacheDiskTest, ARefusedDeleteTakesNothingOut) {
  Bytes page = put(1, Durability::disk);
  std::vector<Key> keys(kKeysMax + 1, page_key_of(1));
  for (uint64_t i = 1; i < keys.size(); ++i) {
    keys[i] = page_key_of(i + 1);
  }
  EXPECT_EQ(calls().erase(space_, keys).error().code, Errc::too_large);
  EXPECT_TRUE(in_ram(1));
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheDiskTest, TheSamePageAgainIsAckedWithoutASecondWrite) {
  Bytes page = put(1);
  runner_.finish();
  const uint64_t written = cache_->stats().disk->written;
  EXPECT_EQ(*calls().put(space_, page_key_of(1), page, {}, Durability::disk),
            PutOutcome::unchanged);
  EXPECT_EQ(cache_->stats().disk->written, written);
  lose_power();
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheDiskTest, APutThatTheDiskRefusesIsNotAckedButServed) {
  device_.fail_next_writes = 1000;
  Bytes page = page_of(1);
  EXPECT_TRUE(calls().put(space_, page_key_of(1), page, {}, Durability::disk).has_error());
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheDiskTest, APageOfAnotherSpaceIsAMiss) {
  put(1, Durability::disk);
  restart();
  Descriptor other = sample_descriptor();
  other.user_salt = {1};
  OpenSpace foreign = open(other);
  EXPECT_EQ(calls().get(foreign, {.key = page_key_of(1)}).error().code, Errc::not_found);
}

TEST_F(PageCacheDiskTest, AMissAfterARestartNamesTheFieldThatDiffers) {
  put(1, Durability::disk);
  lose_power();
  Descriptor other = sample_descriptor();
  other.page_tokens = 64;
  space_ = open(other);
  EXPECT_EQ(lookup({page_key_of(9)}), 0u);
  EXPECT_NE(miss_reason_.find("page_tokens: 64 here, 32 there"), std::string::npos) << miss_reason_;
}

TEST_F(PageCacheDiskTest, DrainBringsEverythingToDisk) {
  std::vector<Bytes> pages;
  for (uint64_t i = 1; i <= 6; ++i) {
    pages.push_back(put(i, Durability::ram, i - 1));
  }
  bool drained = false;
  cache_->drain([&] { drained = true; });
  runner_.finish();
  ASSERT_TRUE(drained);
  restart();
  EXPECT_EQ(disk_->recovery().scanned_segments, 0u);
  lose_power();
  for (uint64_t i = 1; i <= 6; ++i) {
    EXPECT_EQ(bytes_of_page(i), pages[i - 1]);
  }
}

TEST_F(PageCacheDiskTest, ADurablePutWithoutADiskIsRefused) {
  auto ram_only = *PageCache::open({.ram = {.capacity_bytes = ram_bytes_}, .disk = nullptr});
  auto space = *ram_only->open_space(0, bytes_of(sample_descriptor()), 0);
  EXPECT_EQ(ram_only->put_begin(space, page_key_of(1), {}, 1000, Durability::disk).error().code,
            Errc::unsupported);
}

}  // namespace
}  // namespace sluice::cache
