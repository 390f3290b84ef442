// PageCache while work for the disk is on its way: whatever comes between, no page is acked that
// may be lost, none hides a better one, none comes back.
#include <gtest/gtest.h>

#include "tests/cache/cache_on_disk.h"

namespace sluice::cache {
namespace {

class PageCacheOrderTest : public CacheOnDisk {
 protected:
  static constexpr uint32_t kWorseKl = 300;

  Bytes worse_page_of(uint64_t number) { return page_of(number, {.provenance_kl = kWorseKl}); }

  Result<PutOutcome> put_page(uint64_t number,
                              ByteSpan page,
                              Durability durability = Durability::ram) {
    return calls().put(space_, page_key_of(number), page, {}, durability);
  }

  // A put whose answer may take a while.
  std::shared_ptr<std::optional<Result<PutOutcome>>> begin_put(uint64_t number, ByteSpan page) {
    PendingPut pending =
        *cache_->put_begin(space_, page_key_of(number), {}, page.size(), Durability::disk);
    std::copy(page.begin(), page.end(), pending.destination().begin());
    auto answer = std::make_shared<std::optional<Result<PutOutcome>>>();
    cache_->put_end(std::move(pending), [answer](auto got) { *answer = std::move(got); });
    return answer;
  }

  std::shared_ptr<std::optional<Result<PageAnswer>>> begin_get(const PageQuery& query) {
    auto answer = std::make_shared<std::optional<Result<PageAnswer>>>();
    cache_->get(space_, query, [answer](auto got) { *answer = std::move(got); });
    return answer;
  }

  // Steps until the page that the disk had is lost again.
  void step_until_lost(uint64_t number) {
    while (disk_->find(0, page_key_of(number)) && runner_.step()) {
    }
    ASSERT_FALSE(disk_->find(0, page_key_of(number)));
  }

  // Reads others until all that is in RAM now has left it; nothing is written by this.
  void read_all_out() {
    const store::RamTierStats before = cache_->stats().ram;
    for (uint64_t i = 0;
         cache_->stats().ram.evicted_leaves < before.evicted_leaves + before.records;
         ++i) {
      ASSERT_TRUE(get(kOthers + i % kOtherPages).has_value());
    }
  }

  void put_others() {
    for (uint64_t i = 0; i < kOtherPages; ++i) {
      put(kOthers + i, Durability::disk);
    }
  }

  static constexpr uint64_t kOthers = 500;
  static constexpr uint64_t kOtherPages = 40;  // more than RAM holds
};

TEST_F(PageCacheOrderTest, APageThatASyncLostIsNotAcked) {
  Bytes page = put(1);
  runner_.finish();
  device_.faults.sync_error = 1000;
  EXPECT_EQ(put_page(1, page, Durability::disk).error().code, Errc::io_error);
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheOrderTest, APageThatASyncLostIsWrittenAgainForItsAck) {
  Bytes page = put(1);
  runner_.finish();
  device_.faults.sync_error = 1000;
  auto answer = begin_put(1, page);
  step_until_lost(1);
  device_.faults.sync_error = 0;
  runner_.finish();
  ASSERT_TRUE(answer->has_value() && (*answer)->has_value());
  lose_power();
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheOrderTest, APageThatStayedOnDiskAndIsLostIsNotAckedForItsEqual) {
  put(1);
  runner_.finish();
  push_all_out();
  Bytes equal = page_of(1, {.seed = 99});
  device_.faults.sync_error = 1000;
  EXPECT_EQ(put_page(1, equal, Durability::disk).error().code, Errc::io_error);
}

TEST_F(PageCacheOrderTest, AWorsePageThatCameBackIsNoAckForABetterOne) {
  EXPECT_TRUE(put_page(1, worse_page_of(1), Durability::disk).has_value());
  Bytes better = put(1);
  runner_.finish();
  device_.faults.sync_error = 1000;
  EXPECT_EQ(put_page(1, better, Durability::disk).error().code, Errc::io_error);
  lose_power();
  EXPECT_EQ(lookup({page_key_of(1)}), 0u);
  EXPECT_EQ(calls().get(space_, {.key = page_key_of(1), .max_kl = kWorseKl})->kl, kWorseKl);
}

TEST_F(PageCacheOrderTest, APageOnItsWayIsNotWrittenTwice) {
  lanes_.hold(store::Lane::write);
  Bytes page = put(1);
  put(1);
  auto answer = begin_put(1, page);
  runner_.finish();
  EXPECT_FALSE(answer->has_value());
  lanes_.release(store::Lane::write);
  runner_.finish();
  ASSERT_TRUE(answer->has_value() && (*answer)->has_value());
  EXPECT_EQ(cache_->stats().disk->written, 1u);
  lose_power();
  EXPECT_EQ(bytes_of_page(1), page);
}

TEST_F(PageCacheOrderTest, APageDeletedWhileItsAckWaitsStaysDeleted) {
  Bytes page = put(1);
  runner_.finish();
  auto answer = begin_put(1, page);
  const Key key = page_key_of(1);
  EXPECT_EQ(*calls().erase(space_, {&key, 1}), 1u);
  runner_.finish();
  EXPECT_TRUE(answer->has_value());
  EXPECT_EQ(get(1).error().code, Errc::not_found);
  lose_power();
  EXPECT_EQ(get(1).error().code, Errc::not_found);
}

TEST_F(PageCacheOrderTest, AWorsePageNeverReplacesOneOnItsWayToDisk) {
  put_others();
  lanes_.hold(store::Lane::write);
  Bytes better = page_of(1);
  auto answer = begin_put(1, better);
  read_all_out();
  EXPECT_EQ(*put_page(1, worse_page_of(1)), PutOutcome::unchanged);
  lanes_.release(store::Lane::write);
  runner_.finish();
  ASSERT_TRUE(answer->has_value() && (*answer)->has_value());
  EXPECT_EQ(bytes_of_page(1), better);
  lose_power();
  EXPECT_EQ(bytes_of_page(1), better);
}

TEST_F(PageCacheOrderTest, AWorsePageIsAckedWhenTheBetterOneOnItsWayIsDurable) {
  put_others();
  lanes_.hold(store::Lane::write);
  Bytes better = put(1);
  read_all_out();
  auto answer = begin_put(1, worse_page_of(1));
  runner_.finish();
  EXPECT_FALSE(answer->has_value());
  lanes_.release(store::Lane::write);
  runner_.finish();
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ(***answer, PutOutcome::unchanged);
  lose_power();
  EXPECT_EQ(bytes_of_page(1), better);
}

TEST_F(PageCacheOrderTest, APageReadTooLateDoesNotHideABetterOne) {
  EXPECT_TRUE(put_page(1, worse_page_of(1), Durability::disk).has_value());
  push_all_out();
  lanes_.hold(store::Lane::read);
  auto worse = begin_get({.key = page_key_of(1), .max_kl = kWorseKl});
  Bytes better = put(1, Durability::disk);
  push_all_out();
  lanes_.release(store::Lane::read);
  runner_.finish();
  ASSERT_TRUE(worse->has_value());
  EXPECT_EQ((**worse)->kl, kWorseKl);
  EXPECT_EQ(bytes_of_page(1), better);
}

TEST_F(PageCacheOrderTest, AReaderDoesNotJoinTheReadOfAnotherPage) {
  EXPECT_TRUE(put_page(1, worse_page_of(1), Durability::disk).has_value());
  push_all_out();
  lanes_.hold(store::Lane::read);
  auto worse = begin_get({.key = page_key_of(1), .max_kl = kWorseKl});
  put(1, Durability::disk);
  push_all_out();
  auto better = begin_get({.key = page_key_of(1)});
  lanes_.release(store::Lane::read);
  runner_.finish();
  ASSERT_TRUE(better->has_value() && (*better)->has_value());
  EXPECT_EQ((**better)->kl, 0u);
  ASSERT_TRUE(worse->has_value() && (*worse)->has_value());
}

TEST_F(PageCacheOrderTest, AReaderDoesNotJoinTheReadOfADeletedPage) {
  put(1, Durability::disk);
  push_all_out();
  lanes_.hold(store::Lane::read);
  auto deleted = begin_get({.key = page_key_of(1)});
  const Key key = page_key_of(1);
  EXPECT_EQ(*calls().erase(space_, {&key, 1}), 1u);
  put(1, Durability::disk);
  push_all_out();
  auto again = begin_get({.key = page_key_of(1)});
  lanes_.release(store::Lane::read);
  runner_.finish();
  ASSERT_TRUE(deleted->has_value());
  EXPECT_EQ((*deleted)->error().code, Errc::not_found);
  EXPECT_TRUE(again->has_value() && (*again)->has_value());
}

TEST_F(PageCacheOrderTest, ADoubtIsNotHeldAgainstAPageThatCameMeanwhile) {
  EXPECT_TRUE(put_page(1, worse_page_of(1), Durability::disk).has_value());
  const PageQuery query{.key = page_key_of(1), .max_kl = kWorseKl};
  const codec::EncodingId doubted = calls().get(space_, query)->encoding_id;
  push_all_out();
  EXPECT_FALSE(calls().damaged(space_, page_key_of(1), doubted));
  lanes_.hold(store::Lane::read);
  std::optional<bool> taken_out;
  cache_->damaged(space_, page_key_of(1), doubted, [&](bool gone) { taken_out = gone; });
  Bytes better = put(1);
  lanes_.release(store::Lane::read);
  runner_.finish();
  EXPECT_EQ(taken_out, false);
  EXPECT_EQ(bytes_of_page(1), better);
}

TEST_F(PageCacheOrderTest, ADeleteSaysSoWhereAnotherSpacesPutOfItsKeyIsOnItsWay) {
  Descriptor salted = sample_descriptor();
  salted.user_salt = {1};
  const OpenSpace other = open(salted);
  const Key key = page_key_of(1);
  put(1);
  runner_.finish();
  lanes_.hold(store::Lane::write);
  EXPECT_TRUE(calls().put(other, key, page_of(1)).has_value());
  EXPECT_EQ(calls().erase(space_, {&key, 1}).error().code, Errc::overloaded);
  lanes_.release(store::Lane::write);
  runner_.finish();
  EXPECT_EQ(*calls().erase(space_, {&key, 1}), 0u) << "the other one took its place";
  EXPECT_EQ(get(1).error().code, Errc::not_found);
}

TEST_F(PageCacheOrderTest, AWriteOnItsWayIsDeletedAlsoWhereAnotherSpaceHoldsItsKey) {
  Descriptor salted = sample_descriptor();
  salted.user_salt = {1};
  const OpenSpace other = open(salted);
  const Key key = page_key_of(1);
  EXPECT_TRUE(calls().put(other, key, page_of(1), {}, Durability::disk).has_value());
  lanes_.hold(store::Lane::write);
  put(1);
  bool answered = false;
  cache_->erase(space_, {&key, 1}, [&](auto) { answered = true; });
  lanes_.release(store::Lane::write);
  runner_.finish();
  EXPECT_TRUE(answered);
  restart();
  EXPECT_EQ(get(1).error().code, Errc::not_found);
}

}  // namespace
}  // namespace sluice::cache
