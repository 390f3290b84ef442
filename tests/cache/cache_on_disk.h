// A PageCache over little RAM and a simulated disk, and the ways in which both may end.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/base/clock.h"
#include "tests/cache/cache_calls.h"
#include "tests/cache/sample_page.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/step_runner.h"

namespace sluice::cache {

// Runs what a StepRunner is given, but holds back what the lanes named here are to do.
class HeldLanes final : public store::IoRunner {
 public:
  explicit HeldLanes(store::IoRunner& runner) : runner_(runner) {}

  void hold(store::Lane lane) { held_.try_emplace(lane); }

  void release(store::Lane lane) {
    auto held = held_.extract(lane);
    for (Item& item : held.mapped()) {
      runner_.run(lane, std::move(item.first), std::move(item.second));
    }
  }

  void forget() { held_.clear(); }

 private:
  using Item = std::pair<std::function<void()>, std::function<void()>>;

  void do_run(store::Lane lane, std::function<void()> work, std::function<void()> done) override {
    auto held = held_.find(lane);
    if (held == held_.end()) {
      runner_.run(lane, std::move(work), std::move(done));
    } else {
      held->second.emplace_back(std::move(work), std::move(done));
    }
  }

  store::IoRunner& runner_;
  std::map<store::Lane, std::vector<Item>> held_;
};

class CacheOnDisk : public ::testing::Test {
 protected:
  explicit CacheOnDisk(uint64_t seed = 7) : device_(seed), runner_(seed) {}

  void SetUp() override { start(); }

  void start() {
    auto disk = store::DiskTier::open(disk_config_, device_, lanes_, clock_);
    ASSERT_TRUE(disk.has_value()) << disk.error().to_string();
    disk_ = disk->get();
    cache_ = *PageCache::open({.ram = {.capacity_bytes = ram_bytes_}, .disk = *std::move(disk)});
    const Status added = cache_->profiles().add(sha256(kRowsProfile), kRowsProfile);
    ASSERT_TRUE(added.has_value()) << added.error().to_string();
    space_ = open(sample_descriptor());
  }

  // The process dies and another one begins on what the disk kept.
  void restart() {
    cache_.reset();
    runner_.forget();
    lanes_.forget();
    device_.kill();
    start();
  }

  void lose_power() {
    cache_.reset();
    runner_.forget();
    lanes_.forget();
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
    return joined(*answer);
  }

  // Puts others until all that is in RAM now has left it.
  void push_all_out() {
    const store::RamTierStats before = cache_->stats().ram;
    while (cache_->stats().ram.evicted_leaves < before.evicted_leaves + before.records) {
      put(++last_other_);
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
  store::SimDevice device_;
  store::StepRunner runner_;
  HeldLanes lanes_{runner_};
  uint64_t ram_bytes_ = 256 << 10;
  store::DiskTierConfig disk_config_ = {.capacity_bytes = 8 << 20, .segment_bytes = 1 << 20};
  store::DiskTier* disk_ = nullptr;  // the cache's
  std::unique_ptr<PageCache> cache_;
  OpenSpace space_;
  std::string miss_reason_;
  uint64_t last_other_ = 1000;
};

}  // namespace sluice::cache
