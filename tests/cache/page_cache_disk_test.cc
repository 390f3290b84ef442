// PageCache over RAM and a simulated disk: what stays, what comes back, what never does.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/cache/cache_calls.h"
#include "tests/cache/sample_page.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/step_runner.h"

namespace sluice::cache {
namespace {

constexpr uint64_t kRamBytes = 256 << 10;

class PageCacheDiskTest : public testing::Test {
 protected:
  void SetUp() override { start(); }

  void start() {
    auto disk = store::DiskTier::open(
        {.capacity_bytes = 8 << 20, .segment_bytes = 1 << 20}, device_, runner_, clock_);
    ASSERT_TRUE(disk.has_value()) << disk.error().to_string();
    disk_ = disk->get();
    cache_ = *PageCache::open({.ram = {.capacity_bytes = kRamBytes}, .disk = *std::move(disk)});
    space_ = open(sample_descriptor());
  }

  // The process dies and another one begins on what the disk kept.
  void restart() {
    cache_.reset();
    runner_.forget();
    device_.kill();
    start();
  }

  void lose_power() {
    cache_.reset();
    runner_.forget();
    device_.crash();
    start();
  }

  OpenSpace open(const Descriptor& descriptor) {
    auto opened = cache_->open_space(0, bytes_of(descriptor), 0);
    EXPECT_TRUE(opened.has_value());
    return *opened;
  }

  CacheCalls calls() {
    return {.cache = *cache_, .step = [this] { return runner_.step(); }};
  }

  Bytes page_of(uint64_t number, PageOptions options = {}) {
    return make_page(space_.space->geometry, page_key_of(number), options);
  }

  Bytes put(uint64_t number, Durability durability = Durability::ram, uint64_t anchor = 0) {
    Bytes page = page_of(number, {.seed = number});
    auto outcome = calls().put(
        space_, page_key_of(number), page, anchor == 0 ? Key{} : page_key_of(anchor), durability);
    EXPECT_TRUE(outcome.has_value()) << outcome.error().to_string();
    return page;
  }

  Result<PageAnswer> get(uint64_t number) {
    return calls().get(space_, {.key = page_key_of(number)});
  }

  Bytes bytes_of_page(uint64_t number) {
    Result<PageAnswer> answer = get(number);
    EXPECT_TRUE(answer.has_value()) << answer.error().to_string();
    Bytes all(answer->header.begin(), answer->header.end());
    for (ByteSpan piece : answer->sections) {
      all.insert(all.end(), piece.begin(), piece.end());
    }
    return all;
  }

  // Puts others until the page that was used longest ago leaves RAM.
  void push_one_out() {
    for (uint64_t other = 1000; cache_->stats().ram.evicted_leaves == 0; ++other) {
      put(other);
      runner_.finish();
    }
  }

  // Whether a page comes from RAM; it does afterwards.
  bool in_ram(uint64_t number) {
    bool answered = false;
    cache_->get(space_, {.key = page_key_of(number)}, [&](auto) { answered = true; });
    const bool at_once = answered;
    runner_.finish();
    EXPECT_TRUE(answered);
    return at_once;
  }

  uint32_t lookup(std::vector<Key> keys) {
    GroupQuery group{.open = &space_, .window_pages = 0, .keys = keys};
    auto answer = cache_->lookup({&group, 1}, 0);
    miss_reason_ = answer->miss_reason;
    return answer->common_pages;
  }

  SteadyClock clock_;
  store::SimDevice device_{7};
  store::StepRunner runner_{7};
  store::DiskTier* disk_ = nullptr;  // the cache's
  std::unique_ptr<PageCache> cache_;
  OpenSpace space_;
  std::string miss_reason_;
};

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
  push_one_out();
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
  auto ram_only = *PageCache::open({.ram = {.capacity_bytes = kRamBytes}, .disk = nullptr});
  auto space = *ram_only->open_space(0, bytes_of(sample_descriptor()), 0);
  EXPECT_EQ(ram_only->put_begin(space, page_key_of(1), {}, 1000, Durability::disk).error().code,
            Errc::unsupported);
}

}  // namespace
}  // namespace sluice::cache
