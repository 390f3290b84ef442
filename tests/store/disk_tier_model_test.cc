// The disk tier against the oracle: 10^5 seeded steps of put, erase, cut, read and sync, with power
// losses, kills, a log that is full, and a device that fails. A failure prints seed and step.
//
// And the proof that the oracle sees what a missing sync costs: each sync call left out in turn, a
// seed that fails without it.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/store/disk_model.h"

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

TEST(DiskTierModel, TierAndOracleAgreeOnEveryStep) {
  DiskModel::Reached sum;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
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

}  // namespace
}  // namespace sluice::store
