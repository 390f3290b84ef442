// A process that goes on with the segment of the one before it: what that saves, and that no end of
// a process or of the power costs a record.
#include "tests/store/log_fixture.h"

namespace sluice::store {
namespace {

enum class End { sealed, killed, power };

void end(Log& log, End how) {
  if (how == End::sealed) {
    EXPECT_TRUE(log.seal().status.has_value());
  }
  how == End::power ? log.device.crash() : log.device.kill();
  ASSERT_TRUE(log.open().has_value());
}

TEST(LogResume, TheLastSegmentIsGoneOnWithHoweverItsProcessEnded) {
  for (End how : {End::sealed, End::killed, End::power}) {
    Log log;
    for (uint64_t i = 0; i < 4; ++i) {
      WriteReport report = log.put(page_of(i));
      ASSERT_TRUE(report.status.has_value());
      EXPECT_EQ(report.opened.size(), i == 0 ? 1u : 0u);
      EXPECT_EQ(report.durable_sequence >> kOrdinalBits, 1u);
      EXPECT_EQ(report.log_bytes, log.device.total_bytes());
      end(log, how);
      EXPECT_EQ(log.report.scanned_segments, how == End::sealed ? 0u : 1u);
      EXPECT_EQ(log.report.records, i + 1);
    }
    EXPECT_EQ(log.put(page_of(4)).opened.at(0).number, 2u) << "it is full";
    for (uint64_t i = 0; i < 5; ++i) {
      EXPECT_TRUE(log.has(page_of(i)));
    }
  }
}

TEST(LogResume, ManyRestartsLeaveFewSegments) {
  constexpr uint64_t kRestarts = 200;
  for (End how : {End::sealed, End::killed}) {
    Log log(1, 1 << 20, 1 << 30);
    for (uint64_t i = 0; i < kRestarts; ++i) {
      ASSERT_TRUE(log.put(page_of(i)).status.has_value());
      end(log, how);
    }
    EXPECT_LE(log.device.files().size(), kRestarts * 3 * kBlockBytes / (1 << 20) + 1);
    for (uint64_t i = 0; i < kRestarts; ++i) {
      ASSERT_TRUE(log.has(page_of(i))) << i;
    }
  }
}

TEST(LogResume, TheCapacityIsKept) {
  Log log;
  for (uint64_t i = 0; i < 60; ++i) {
    for (uint64_t k = 0; k <= i % 3; ++k) {
      WriteReport report = log.put(page_of(i * 3 + k));
      ASSERT_TRUE(report.status.has_value());
      EXPECT_EQ(report.log_bytes, log.device.total_bytes());
    }
    ASSERT_LE(log.device.total_bytes(), 256u << 10);
    end(log, i % 2 == 0 ? End::killed : End::sealed);
    ASSERT_TRUE(log.has(page_of(i * 3)));
  }
}

// The tombstone's copy has no entry in the footer, but a place and a number.
TEST(LogResume, RecordsGoOnBehindATombstone) {
  Log log;
  ASSERT_TRUE(log.put(page_of(1)).status.has_value());
  ASSERT_TRUE(log.erase({{.key = key_of(1)}}).status.has_value());
  end(log, End::sealed);
  ASSERT_TRUE(log.put(page_of(2)).status.has_value());
  end(log, End::killed);
  EXPECT_EQ(log.report.damaged + log.report.dropped_tails, 0u) << log.lines();
  EXPECT_EQ(log.read(key_of(1)).error().code, Errc::not_found);
  EXPECT_TRUE(log.has(page_of(2)));
}

// A scan takes the second of two equal tombstones for a copy: no footer names it then.
TEST(LogResume, RecordsGoOnBehindEqualTombstones) {
  Log log;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(log.erase({{.key = key_of(1)}}).status.has_value());
  }
  for (uint64_t i = 2; i < 4; ++i) {
    end(log, End::killed);
    ASSERT_TRUE(log.put(page_of(i)).opened.empty());
  }
  end(log, End::killed);
  EXPECT_EQ(log.report.damaged + log.report.dropped_tails, 0u) << log.lines();
  EXPECT_TRUE(log.has(page_of(2)));
  EXPECT_TRUE(log.has(page_of(3)));
}

TEST(LogResume, ASegmentWithDamageIsNotGoneOnWith) {
  Log log;
  ASSERT_TRUE(log.put(page_of(1)).status.has_value());
  ASSERT_TRUE(log.put(page_of(2)).status.has_value());
  SimDevice::flip(log.file(1), kBlockBytes + 100, 3);
  end(log, End::killed);
  EXPECT_EQ(log.put(page_of(3)).opened.at(0).number, 2u);
}

TEST(LogResume, AFailedWriteCostsNothingThatStoodThere) {
  Log log;
  ASSERT_TRUE(log.put(page_of(1)).status.has_value());
  end(log, End::sealed);
  log.device.fail_next_writes = 1;
  WriteReport report = log.put(page_of(2));
  ASSERT_TRUE(report.status.has_value());
  ASSERT_EQ(report.failed.size(), 1u);
  EXPECT_EQ(report.failed[0].durable_sequence, sequence_of(1, 3)) << "of the page's last block";
  EXPECT_TRUE(log.has(page_of(1)));
  end(log, End::power);
  EXPECT_TRUE(log.has(page_of(1)));
  EXPECT_TRUE(log.has(page_of(2)));
}

// The footer that went may be back, in part too, beside records in part.
TEST(LogResume, PowerLossTakesNothingThatWasDurable) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Prng prng(seed);
    Log log(seed * 5 + 1);
    std::vector<Sample> durable;
    for (uint64_t i = 0; i < 6; ++i) {
      Sample page =
          make_sample({.seed = seed * 10 + i, .bytes = 100 + prng.below(9000), .key = key_of(i)});
      bool is_synced = prng.below(2) == 0;
      ASSERT_TRUE(log.put(page, {.sync = is_synced}).status.has_value());
      if (is_synced) {
        durable.push_back(page);
      }
      if (prng.below(3) != 0) {
        end(log, static_cast<End>(prng.below(3)));
        for (const Sample& there : durable) {
          ASSERT_TRUE(log.has(there)) << "seed " << seed << " page " << i << "\n" << log.lines();
        }
      }
    }
  }
}

// A sync and the cut behind it fail. What the next start shows is durable all the same.
TEST(LogResume, WhatARestartShowsSurvivesAPowerLossAlsoBehindAFailedSyncAndCut) {
  uint64_t shown_sum = 0;
  uint64_t next_segments = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Log log(seed * 3 + 1);
    ASSERT_TRUE(log.put(page_of(0)).status.has_value());
    ASSERT_TRUE(log.put(page_of(1), {}).status.has_value());
    // Where only the first sync fails the batch is in the next segment, whose header must prove no
    // more of this one than what was synced.
    log.device.faults.sync_error = seed % 2 == 0 ? 500 : 1000;
    log.device.faults.cut_error = 1000;
    const WriteReport report = log.put(page_of(2));
    log.device.faults = {};
    next_segments += report.status.has_value() && !report.failed.empty();
    end(log, End::killed);
    EXPECT_TRUE(log.has(page_of(0)));
    std::vector<Sample> shown;
    for (uint64_t i = 0; i < 3; ++i) {
      if (log.has(page_of(i))) {
        shown.push_back(page_of(i));
      }
    }
    shown_sum += shown.size();
    end(log, End::power);
    for (const Sample& page : shown) {
      ASSERT_TRUE(log.has(page)) << "seed " << seed << "\n" << log.lines();
    }
  }
  EXPECT_GT(shown_sum, 150u) << "some of what a power loss would have taken shows";
  EXPECT_GT(next_segments, 5u);
}

}  // namespace
}  // namespace sluice::store
