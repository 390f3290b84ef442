// The disk tier against the oracle: 10^5 seeded steps of put, erase, cut, read and sync, with power
// losses, kills, a log that is full, and a device that fails. A failure prints seed and step.
//
// And the proof that the oracle sees what a missing sync costs: each sync call left out in turn, a
// seed that fails without it.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/store/disk_model.h"
#include "tests/store/log_fixture.h"

namespace sluice::store {
namespace {

constexpr int kStepsASeed = 2500;

std::string run(const DiskModelConfig& config, int steps, DiskModel::Reached* reached = nullptr) {
  DiskModelConfig traced = config;
  traced.trace = std::getenv("SLUICE_TRACE") != nullptr;
  DiskModel model(traced);
  for (int step = 0; step < steps && model.failure().empty(); ++step) {
    model.step();
  }
  if (reached != nullptr) {
    *reached = model.reached();
  }
  return model.failure();
}

// How many seeds; SLUICE_SEEDS asks for more than the suite has.
uint64_t seeds() {
  const char* wanted = std::getenv("SLUICE_SEEDS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 40;
}

TEST(DiskTierModel, TierAndOracleAgreeOnEveryStep) {
  DiskModel::Reached sum;
  for (uint64_t seed = 1; seed <= seeds(); ++seed) {
    DiskModel::Reached reached;
    std::string failure =
        run({.seed = seed, .is_small = seed % 2 == 0, .is_failing = seed % 4 >= 2},
            kStepsASeed,
            &reached);
    ASSERT_EQ(failure, "");
    sum.crashes += reached.crashes;
    sum.kills += reached.kills;
    sum.durable_acks += reached.durable_acks;
    sum.erase_acks += reached.erase_acks;
    sum.cut_acks += reached.cut_acks;
    sum.pages_read += reached.pages_read;
    sum.evicted += reached.evicted;
    sum.failed_segments += reached.failed_segments;
    sum.failed_acks += reached.failed_acks;
    sum.tails += reached.tails;
  }
  // The steps reach what they are for.
  EXPECT_GT(sum.crashes, 100u);
  EXPECT_GT(sum.kills, 100u);
  EXPECT_GT(sum.durable_acks, 2000u);
  EXPECT_GT(sum.erase_acks, 2000u);
  EXPECT_GT(sum.cut_acks, 100u);
  EXPECT_GT(sum.pages_read, 1000u);
  EXPECT_GT(sum.evicted, 1000u);
  EXPECT_GT(sum.failed_segments, 100u);
  EXPECT_GT(sum.failed_acks, 100u);
  EXPECT_GT(sum.tails, 50u);
}

// A page, its tombstone in the next segment, and a log that is full. A process ends while it drops
// the page's segment, the next one loses power while it drops the tombstone's. What is wrong then.
std::string drop_twice(uint64_t seed, std::optional<SyncSite> left_out) {
  Prng prng(seed);
  Log log(seed * 7 + 3);
  log.device.left_out = left_out;
  Sample deleted = page_of(100);
  EXPECT_TRUE(log.put(deleted).status.has_value());
  EXPECT_TRUE(log.seal().status.has_value());
  EXPECT_TRUE(log.erase({{.key = deleted.record.key}}).status.has_value());
  EXPECT_TRUE(log.seal().status.has_value());
  for (int process = 0; process < 2; ++process) {
    log.device.stop_after(prng.below(process == 0 ? 60 : 4));
    for (uint64_t i = 0; !log.device.is_stopped(); ++i) {
      static_cast<void>(log.put(page_of(i % 20, prng.next())));
    }
    process == 0 ? log.device.kill() : log.device.crash();
    EXPECT_TRUE(log.open().has_value());
  }
  return log.index->find(0, deleted.record.key) == nullptr ? "" : "a deleted page is back";
}

// The seed that fails without a sync call.
struct Witness {
  SyncSite site = SyncSite::commit;
  bool is_drop_twice = false;
  uint64_t seed = 0;

  std::string failure(std::optional<SyncSite> left_out) const {
    if (is_drop_twice) {
      return drop_twice(seed, left_out);
    }
    return run({.seed = seed, .left_out = left_out}, kStepsASeed);
  }
};

const Witness kWitnesses[] = {
    {.site = SyncSite::commit, .seed = 1},
    {.site = SyncSite::seal, .seed = 1},
    {.site = SyncSite::segment_name, .seed = 1},
    {.site = SyncSite::segment_drop, .is_drop_twice = true, .seed = 1075},
    {.site = SyncSite::recovered_segment, .seed = 3},
    {.site = SyncSite::recovered_folder, .is_drop_twice = true, .seed = 5038},
};

TEST(DiskTierModel, EverySyncIsNeeded) {
  std::set<SyncSite> seen;
  for (const Witness& witness : kWitnesses) {
    seen.insert(witness.site);
    EXPECT_EQ(witness.failure({}), "") << sync_site_name(witness.site);
    EXPECT_NE(witness.failure(witness.site), "") << sync_site_name(witness.site);
  }
  EXPECT_EQ(seen.size(), kSyncSites);
}

TEST(DiskTierModel, ADeletedPageStaysDeletedHoweverItsSegmentsAreDropped) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    ASSERT_EQ(drop_twice(seed, {}), "") << seed;
  }
}

}  // namespace
}  // namespace sluice::store
