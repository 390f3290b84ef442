// PageCache over a disk that fails, against what it promised: whatever is served was put and not
// deleted since, and what was acked as durable is there after any crash, or a better page is.
#include <gtest/gtest.h>

#include <set>

#include "tests/cache/cache_on_disk.h"

namespace sluice::cache {
namespace {

constexpr uint64_t kKeys = 8;
constexpr int kSteps = 250;

// Of each key, worst first where they differ in that.
constexpr PageOptions kVersions[] = {
    {.provenance_kl = 300, .seed = 1},
    {.provenance_kl = 300, .seed = 2},
    {.encoding = codec::Encoding::raw, .seed = 3},
    {.seed = 4},
    {.seed = 5},
};
// Behind these a page of four rows, and the same without the last two.
constexpr int kRanks[] = {1, 1, 3, 4, 4, 2, 0};
constexpr size_t kVersionsMax = std::size(kRanks);

// What may be served of a key, and what has to be.
struct Promise {
  std::set<size_t> allowed;  // versions
  int least_rank = -1;       // acked as durable; -1: nothing
  uint64_t erases = 0;       // begun
};

class PageCacheModelTest : public CacheOnDisk, public ::testing::WithParamInterface<uint64_t> {
 protected:
  PageCacheModelTest() : CacheOnDisk(GetParam()), prng_(GetParam()) {}

  void SetUp() override {
    ram_bytes_ = 160 << 10;
    disk_config_ = {.capacity_bytes = 64 << 20, .segment_bytes = 1 << 20};
    start();
    for (uint64_t key = 0; key < kKeys; ++key) {
      for (const PageOptions& version : kVersions) {
        pages_[key].push_back(page_of(key + 1, version));
      }
      pages_[key].push_back(make_rows_page(space_.space->geometry, page_key_of(key + 1)));
      pages_[key].push_back(first_rows(pages_[key].back(), 2));
    }
  }

  void begin_put(uint64_t key, size_t version, Durability durability) {
    const Bytes& page = pages_[key][version];
    Result<PendingPut> pending =
        cache_->put_begin(space_, page_key_of(key + 1), {}, page.size(), durability);
    if (pending.has_error()) {
      return;
    }
    std::copy(page.begin(), page.end(), pending->destination().begin());
    promises_[key].allowed.insert(version);
    cache_->put_end(
        *std::move(pending),
        [this, key, version, durability, erases = promises_[key].erases](const auto& outcome) {
          Promise& promise = promises_[key];
          if (outcome.has_value() && durability == Durability::disk && promise.erases == erases) {
            promise.least_rank = std::max(promise.least_rank, kRanks[version]);
            ++acked_;
          }
        });
  }

  void begin_get(uint64_t key) {
    constexpr uint32_t kQualities[] = {0, 100, 1500, kKlUnknown};
    const PageQuery query{.key = page_key_of(key + 1), .max_kl = kQualities[prng_.below(4)]};
    cache_->get(space_, query, [this, key, query](const Result<PageAnswer>& answer) {
      EXPECT_LE(answer.has_value() ? answer->kl : 0, query.max_kl);
      check(key, answer);
    });
  }

  // The best version that begins with the rows that were served, or nothing. What the disk could
  // not read it need not have: a worse page that is put then stays.
  std::optional<size_t> check(uint64_t key, const Result<PageAnswer>& answer) {
    if (answer.has_error()) {
      if (answer.error().code == Errc::io_error) {
        promises_[key].least_rank = -1;
      }
      return std::nullopt;
    }
    const Bytes served = joined(*answer);
    std::optional<size_t> best;
    for (size_t version : promises_[key].allowed) {
      const Bytes& page = pages_[key][version];
      const bool is_front =
          served.size() <= page.size() && std::equal(served.begin(), served.end(), page.begin());
      // All rows that are stored were asked for, or few: which version it is shows by its length.
      if (is_front && (!best || page.size() == served.size())) {
        best = version;
      }
    }
    EXPECT_TRUE(best.has_value()) << "nobody put this";
    return best;
  }

  // Until it is acked, a crash may bring back what was there.
  void begin_erase(uint64_t key) {
    Promise& promise = promises_[key];
    const uint64_t number = ++last_erase_;
    erasing_[number] = {key, std::exchange(promise.allowed, {})};
    promise.least_rank = -1;
    ++promise.erases;
    const Key name = page_key_of(key + 1);
    cache_->erase(space_, {&name, 1}, [this, number](const Result<uint32_t>& erased) {
      auto ended = erasing_.extract(number);
      if (erased.has_error()) {
        failed_.push_back(std::move(ended.mapped()));
      }
    });
  }

  void set_faults(uint32_t of_1000) {
    device_.faults.sync_error = of_1000;
    device_.faults.write_error = of_1000;
    device_.faults.read_error = of_1000;
  }

  void release_all() {
    for (store::Lane lane : {store::Lane::prepare, store::Lane::write, store::Lane::read}) {
      if (held_.erase(lane) != 0) {
        lanes_.release(lane);
      }
    }
  }

  void crash() {
    set_faults(0);
    held_.clear();
    prng_.below(2) == 0 ? lose_power() : restart();
    for (auto& [number, erase] : erasing_) {
      failed_.push_back(std::move(erase));
    }
    erasing_.clear();
    for (const auto& [key, versions] : failed_) {
      promises_[key].allowed.insert(versions.begin(), versions.end());
    }
    failed_.clear();
    check_all();
  }

  void check_all() {
    set_faults(0);
    release_all();
    runner_.finish();
    for (uint64_t key = 0; key < kKeys; ++key) {
      const PageQuery query{.key = page_key_of(key + 1), .max_kl = kKlUnknown, .least_rows = 255};
      std::optional<size_t> version = check(key, calls().get(space_, query));
      EXPECT_GE(version ? kRanks[*version] : -1, promises_[key].least_rank) << "key " << key;
    }
    ASSERT_EQ(cache_->stats().disk->evicted, 0u) << "the log of this test is too small";
  }

  void step() {
    const uint64_t key = prng_.below(kKeys);
    const uint64_t choice = prng_.below(100);
    if (choice < 35) {
      begin_put(
          key, prng_.below(kVersionsMax), prng_.below(2) == 0 ? Durability::ram : Durability::disk);
    } else if (choice < 55) {
      begin_get(key);
    } else if (choice < 59) {
      begin_erase(key);
    } else if (choice < 64) {
      const auto lane = static_cast<store::Lane>(prng_.below(3));
      held_.insert(lane);
      lanes_.hold(lane);
    } else if (choice < 69) {
      release_all();
    } else if (choice < 73) {
      set_faults(prng_.below(2) == 0 ? 0 : 300);
    } else if (choice < 75) {
      crash();
    } else if (choice < 77) {
      check_all();
    } else {
      for (uint64_t i = prng_.below(12); i > 0; --i) {
        runner_.step();
      }
    }
  }

  Prng prng_;
  std::vector<Bytes> pages_[kKeys];
  Promise promises_[kKeys];
  std::map<uint64_t, std::pair<uint64_t, std::set<size_t>>> erasing_;  // key, what was there
  std::vector<std::pair<uint64_t, std::set<size_t>>> failed_;          // erases that did
  std::set<store::Lane> held_;
  uint64_t last_erase_ = 0;
  uint64_t acked_ = 0;
};

TEST_P(PageCacheModelTest, ServesWhatWasPutAndKeepsWhatWasAcked) {
  for (int i = 0; i < kSteps && !HasFailure(); ++i) {
    step();
  }
  crash();
  EXPECT_GT(acked_, 5u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PageCacheModelTest, ::testing::Range<uint64_t>(1, 31));

}  // namespace
}  // namespace sluice::cache
