// What a disk tier says and keeps of what went wrong: writes that the log did not take, and pages
// that were found damaged.
#include "tests/store/disk_tier_fixture.h"

namespace sluice::store {
namespace {

class DiskLoss : public DiskTierSteps {
 protected:
  void write_behind(uint64_t i) {
    ASSERT_TRUE(write(page_of(i), false).has_value());
    runner.finish();
  }

  size_t lines_with(std::string_view words) const {
    size_t count = 0;
    for (size_t at = lines.find(words); at != std::string::npos; at = lines.find(words, at + 1)) {
      ++count;
    }
    return count;
  }
};

TEST_F(DiskLoss, AFailedWriteThatNobodyWaitsForIsOneLine) {
  device.faults.write_error = 1000;
  write_behind(1);
  EXPECT_EQ(lines_with("\n"), 1u) << lines;
  EXPECT_NE(lines.find("warning: /sim/0000000000000001.seg offset 0 was not written: io_error: "),
            std::string::npos)
      << lines;
  EXPECT_NE(lines.find("not in the log: 1 pages of 9000 bytes, 0 deletes and 0 cuts"),
            std::string::npos)
      << lines;
  EXPECT_NE(lines.find("mend the disk"), std::string::npos) << lines;
  EXPECT_EQ(tier->stats().failed_writes, 1u);
}

TEST_F(DiskLoss, WritesThatGoOnFailingAreALineASecondAndOneAtTheEnd) {
  device.faults.write_error = 1000;
  for (uint64_t i = 0; i < 10; ++i) {
    write_behind(i);
  }
  EXPECT_EQ(lines_with("was not written"), 1u) << lines;
  clock.advance_ns(1'000'000'000);
  write_behind(10);
  EXPECT_EQ(lines_with("was not written"), 2u) << lines;
  EXPECT_EQ(lines_with("not in the log: 10 pages of 90000 bytes"), 1u) << lines;
  device.faults.write_error = 0;
  device.capacity_bytes = 0;  // another reason is news
  write_behind(11);
  EXPECT_EQ(lines_with("make room on that file system"), 1u) << lines;
  device.capacity_bytes = ~0ull;
  write_behind(12);
  write_behind(13);
  EXPECT_EQ(lines_with("info: the log takes writes again; not in it since it did not: 12 pages of "
                       "108000 bytes"),
            1u)
      << lines;
}

TEST_F(DiskLoss, AFailedSyncNamesTheSegmentAndWhatWasLost) {
  write_behind(1);
  device.faults.sync_error = 1000;
  tier->commit({});
  runner.finish();
  EXPECT_EQ(lines_with("warning: /sim/0000000000000001.seg given up at offset 16384: io_error: "),
            1u)
      << lines;
  EXPECT_EQ(lines_with("/sim/0000000000000001.seg: 1 pages that were not durable are lost"), 1u)
      << lines;
}

// Flips a bit of a page's body wherever it lies on the device.
void damage_on(SimDevice& device, const Sample& page) {
  ByteSpan front = ByteSpan(page.bytes).first(64);
  for (auto& [name, content] : device.files()) {
    auto at = std::search(content->now.begin(), content->now.end(), front.begin(), front.end());
    if (at != content->now.end()) {
      SimDevice::flip(*content, static_cast<uint64_t>(at - content->now.begin()) + 70, 2);
    }
  }
}

TEST_F(DiskLoss, ADamagedPageStaysGoneAfterARestart) {
  for (bool is_drained : {false, true}) {
    put(page_of(1));
    put(page_of(2));
    damage_on(device, page_of(1));
    EXPECT_EQ(read(page_of(1)).error().code, Errc::damaged);
    if (is_drained) {
      tier->drain({});
      runner.finish();
    }
    device.kill();
    open();
    EXPECT_FALSE(finds(page_of(1)));
    EXPECT_TRUE(finds(page_of(2)));
    EXPECT_EQ(tier->stats().damaged, 0u);
  }
}

TEST_F(DiskLoss, TheSamePagePutAgainCounts) {
  put(page_of(1));
  damage_on(device, page_of(1));
  EXPECT_EQ(read(page_of(1)).error().code, Errc::damaged);
  put(page_of(1));
  device.kill();
  open();
  EXPECT_TRUE(read(page_of(1)).has_value());
}

// One key, put again and again, damaged and read, with the process and the power ending.
class LossTrial {
 public:
  explicit LossTrial(uint64_t seed) : prng_(seed), device_(seed * 5 + 1), runner_(seed) { open(); }

  uint64_t losses = 0;

  void step() {
    const uint64_t choice = prng_.below(20);
    if (choice < 3) {
      put();
    } else if (choice < 5 && found()) {
      damaged_.insert(*found());
      damage_on(device_, versions_[*found()]);
    } else if (choice < 9) {
      read();
    } else if (choice == 9) {
      tier_->commit([this, lost = lost_](const Status& status) {
        if (status.has_value()) {
          gone_.insert(lost.begin(), lost.end());
        }
      });
    } else if (choice == 10 && prng_.below(4) == 0) {
      prng_.below(2) == 0 ? device_.kill() : device_.crash();
      open();
      losses += tier_->recovery().losses;
    } else {
      runner_.step();
    }
    check();
  }

 private:
  void open() {
    tier_.reset();
    runner_.forget();
    DiskTierConfig config;
    config.segment_bytes = 64 << 10;
    config.capacity_bytes = 1 << 30;
    config.new_log_id = sample_log_id();
    tier_ = *DiskTier::open(config, device_, runner_, clock_);
    damaged_seen_ = 0;
    lost_.clear();
  }

  // Which version the tier has.
  std::optional<size_t> found() const {
    auto entry = tier_->find(0, key_of(1));
    for (size_t i = 0; entry && i < versions_.size(); ++i) {
      if (versions_[i].record.encoding_id == entry->record.encoding_id) {
        return i;
      }
    }
    return {};
  }

  void put() {
    const size_t number = versions_.size();
    versions_.push_back(page_of(1, number));
    auto bytes = std::make_shared<Bytes>(versions_.back().bytes);
    DiskWrite write{.record = versions_.back().record,
                    .bytes = *bytes,
                    .keep_alive = bytes,
                    .want_durable = true};
    ASSERT_TRUE(tier_
                    ->write(std::move(write),
                            [this, number](const Status& status) {
                              durable_ = status.has_value() ? number : durable_;
                            })
                    .has_value());
  }

  void read() {
    const std::optional<size_t> which = found();
    static_cast<void>(tier_->read(0, key_of(1), [this, which](const Result<DiskPage>& page) {
      if (page.has_error() && page.error().code == Errc::damaged &&
          tier_->stats().damaged > damaged_seen_) {  // not of one that was replaced meanwhile
        damaged_seen_ = tier_->stats().damaged;
        if (!found()) {  // else the one that it replaced counts again
          lost_.insert(*which);
        }
      }
    }));
  }

  void check() const {
    const std::optional<size_t> there = found();
    if (there) {
      ASSERT_FALSE(gone_.contains(*there)) << "version " << *there << " is back";
    }
    // What a damaged one had replaced is gone with it.
    if (durable_ && damaged_.lower_bound(*durable_) == damaged_.end()) {
      ASSERT_TRUE(there && *there >= *durable_) << "version " << *durable_ << " is hidden";
    }
  }

  Prng prng_;
  SimDevice device_;
  StepRunner runner_;
  ManualClock clock_;
  std::unique_ptr<DiskTier> tier_;
  std::vector<Sample> versions_;
  std::set<size_t> damaged_;       // on the device
  std::set<size_t> lost_;          // a read said so
  uint64_t damaged_seen_ = 0;      // of the tier's counter
  std::set<size_t> gone_;          // and that is durable
  std::optional<size_t> durable_;  // the newest one acked
};

TEST(DiskLossTrials, WhatWasFoundDamagedStaysGoneAndHidesNoLaterPut) {
  uint64_t losses = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    LossTrial trial(seed);
    for (int step = 0; step < 400 && !testing::Test::HasFatalFailure(); ++step) {
      trial.step();
    }
    ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed;
    losses += trial.losses;
  }
  EXPECT_GT(losses, 20u);
}

}  // namespace
}  // namespace sluice::store
