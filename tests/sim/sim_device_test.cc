// That the simulated device fails as its fault model says: a test that never sees a fault proves
// nothing.
#include "tests/sim/sim_device.h"

#include <gtest/gtest.h>

namespace sluice::store {
namespace {

AlignedBuffer filled(uint64_t bytes, uint8_t value) {
  AlignedBuffer out(bytes);
  std::fill(out.bytes().begin(), out.bytes().end(), value);
  return out;
}

uint64_t blocks_of(const Bytes& bytes, uint8_t value) {
  uint64_t count = 0;
  for (size_t at = 0; at < bytes.size(); at += kBlockBytes) {
    count += std::all_of(bytes.begin() + static_cast<ptrdiff_t>(at),
                         bytes.begin() + static_cast<ptrdiff_t>(at + kBlockBytes),
                         [&](uint8_t byte) { return byte == value; });
  }
  return count;
}

TEST(SimDevice, WhatWasSyncedSurvivesPowerLossAndWhatWasNotMayNot) {
  uint64_t lost = 0;
  uint64_t kept = 0;
  uint64_t torn = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimDevice device(seed);
    auto file = *device.create("a");
    ASSERT_TRUE(file->write(0, filled(8192, 1).bytes()).has_value());
    ASSERT_TRUE(file->sync(SyncSite::commit).has_value());
    ASSERT_TRUE(device.sync_folder(SyncSite::segment_name).has_value());
    ASSERT_TRUE(file->write(8192, filled(16384, 2).bytes()).has_value());
    device.crash();
    const Bytes& left = device.files().at("a")->now;
    ASSERT_EQ(blocks_of(left, 1), 2u);
    uint64_t blocks = blocks_of(left, 2);
    lost += blocks == 0;
    kept += blocks == 4;
    torn += blocks > 0 && blocks < 4;
    AlignedBuffer out(8192);
    EXPECT_EQ(file->read(0, out.bytes()).error().code, Errc::io_error);
  }
  EXPECT_GT(lost, 20u);
  EXPECT_GT(kept, 20u);
  EXPECT_GT(torn, 20u);
}

TEST(SimDevice, AKillKeepsWhatWasWrittenButMakesNothingDurable) {
  uint64_t lost = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimDevice device(seed);
    auto file = *device.create("a");
    ASSERT_TRUE(device.sync_folder(SyncSite::segment_name).has_value());
    ASSERT_TRUE(file->write(0, filled(8192, 1).bytes()).has_value());
    device.kill();
    ASSERT_EQ(blocks_of(device.files().at("a")->now, 1), 2u);
    device.crash();
    lost += blocks_of(device.files().at("a")->now, 1) == 0;
  }
  EXPECT_GT(lost, 5u);
}

TEST(SimDevice, NamesSurviveEachByItselfUntilTheFolderIsSynced) {
  std::set<std::pair<bool, bool>> seen;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimDevice device(seed);
    ASSERT_TRUE(device.create("old").has_value());
    ASSERT_TRUE(device.sync_folder(SyncSite::segment_name).has_value());
    ASSERT_TRUE(device.create("new").has_value());
    ASSERT_TRUE(device.remove("old").has_value());
    device.crash();
    seen.insert({device.files().contains("old"), device.files().contains("new")});
  }
  EXPECT_EQ(seen.size(), 4u);
}

TEST(SimDevice, AfterAFailedSyncALaterOneBringsNothingBack) {
  SimDevice device(1);
  auto file = *device.create("a");
  ASSERT_TRUE(device.sync_folder(SyncSite::segment_name).has_value());
  ASSERT_TRUE(file->write(0, filled(8192, 1).bytes()).has_value());
  device.faults.sync_error = 1000;
  EXPECT_EQ(file->sync(SyncSite::commit).error().code, Errc::io_error);
  device.faults.sync_error = 0;
  EXPECT_TRUE(file->sync(SyncSite::commit).has_value());
  EXPECT_LT(blocks_of(device.files().at("a")->durable, 1), 2u);
}

TEST(SimDevice, ASiteThatIsLeftOutSyncsNothing) {
  SimDevice device(3);
  auto file = *device.create("a");
  device.left_out = SyncSite::commit;
  ASSERT_TRUE(file->write(0, filled(8192, 1).bytes()).has_value());
  EXPECT_TRUE(file->sync(SyncSite::commit).has_value());
  EXPECT_TRUE(device.files().at("a")->durable.empty());
  EXPECT_TRUE(file->sync(SyncSite::seal).has_value());
  EXPECT_EQ(blocks_of(device.files().at("a")->durable, 1), 2u);
  EXPECT_EQ(device.syncs_of(SyncSite::commit), 1u);
}

TEST(SimDevice, AFullDeviceTakesAPart) {
  SimDevice device(4);
  device.capacity_bytes = 8192;
  auto file = *device.create("a");
  EXPECT_EQ(file->write(0, filled(16384, 1).bytes()).error().code, Errc::no_space);
  EXPECT_TRUE(file->truncate(0).has_value());
  EXPECT_TRUE(file->write(0, filled(8192, 1).bytes()).has_value());
}

TEST(SimDevice, StopsDuringTheCallThatWasChosen) {
  SimDevice device(5);
  auto file = *device.create("a");
  device.stop_after(1);
  EXPECT_TRUE(file->write(0, filled(4096, 1).bytes()).has_value());
  EXPECT_TRUE(file->write(4096, filled(65536, 1).bytes()).has_error());
  EXPECT_TRUE(device.is_stopped());
  EXPECT_TRUE(device.list().has_error());
  device.kill();
  EXPECT_TRUE(device.list().has_value());
}

TEST(SimDevice, LyingWritesAndReadsDiffer) {
  for (int fault = 0; fault < 5; ++fault) {
    SimDevice device(6);
    auto file = *device.create("a");
    auto other = *device.create("b");
    ASSERT_TRUE(other->write(0, filled(65536, 9).bytes()).has_value());
    ASSERT_TRUE(file->write(0, filled(65536, 8).bytes()).has_value());
    ASSERT_TRUE(file->sync(SyncSite::commit).has_value());
    device.faults.lost_write = fault == 0 ? 1000 : 0;
    device.faults.torn_write = fault == 1 ? 1000 : 0;
    device.faults.misdirected_write = fault == 2 ? 1000 : 0;
    device.faults.stale_read = fault == 3 ? 1000 : 0;
    device.faults.flipped_read = fault == 4 ? 1000 : 0;
    AlignedBuffer bytes = filled(65536, 1);
    ASSERT_TRUE(file->write(0, bytes.bytes()).has_value());
    AlignedBuffer out(65536);
    ASSERT_TRUE(file->read(0, out.bytes()).has_value());
    EXPECT_FALSE(std::ranges::equal(out.bytes(), bytes.bytes())) << fault;
  }
}

}  // namespace
}  // namespace sluice::store
