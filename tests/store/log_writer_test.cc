// The log's writer: what it puts where, what it drops, and what it does when the device fails.
#include "store/log_writer.h"

#include "tests/store/log_fixture.h"

namespace sluice::store {
namespace {

TEST(LogWriter, PagesAreThereAtOnceAndAfterARestart) {
  Log log;
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(log.put(page_of(i)).status.has_value());
    EXPECT_TRUE(log.has(page_of(i)));
  }
  ASSERT_TRUE(log.open().has_value());
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(log.has(page_of(i))) << i << log.lines();
  }
  EXPECT_EQ(log.report.records, 3u);
  EXPECT_EQ(log.report.scanned_segments, 1u);
  EXPECT_TRUE(log.report.lines.empty()) << log.lines();
}

TEST(LogWriter, AFullSegmentIsSealedAndTheNextOneBegins) {
  Log log;
  uint64_t opened = 0;
  for (uint64_t i = 0; i < 10; ++i) {
    opened += log.put(page_of(i), {}).opened.size();
  }
  EXPECT_EQ(opened, 3u);
  for (const auto& [name, content] : log.device.files()) {
    EXPECT_LE(content->now.size(), 64u << 10);
  }
  ASSERT_TRUE(log.open().has_value());
  EXPECT_EQ(log.report.segments, 3u);
  EXPECT_EQ(log.report.scanned_segments, 1u);
  EXPECT_EQ(log.report.records, 10u);
}

TEST(LogWriter, TheOldestSegmentGoesBeforeTheCapacityIsExceeded) {
  Log log;
  std::vector<uint64_t> dropped;
  for (uint64_t i = 0; i < 40; ++i) {
    WriteReport report = log.put(page_of(i), {});
    ASSERT_TRUE(report.status.has_value());
    for (const DroppedSegment& segment : report.dropped) {
      dropped.push_back(segment.number);
    }
    EXPECT_LE(log.device.total_bytes(), 256u << 10);
    EXPECT_EQ(log.device.total_bytes(), report.log_bytes);
  }
  EXPECT_EQ(dropped, (std::vector<uint64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(log.read(key_of(0)).error().code, Errc::not_found);
  EXPECT_TRUE(log.has(page_of(39)));
}

TEST(LogWriter, ARecordLongerThanASegmentGetsOneOfItsOwn) {
  Log log;
  Sample large = make_sample({.seed = 1, .bytes = 100'000, .key = key_of(1)});
  ASSERT_TRUE(log.put(page_of(0)).status.has_value());
  ASSERT_TRUE(log.put(large).status.has_value());
  ASSERT_TRUE(log.put(page_of(2)).status.has_value());
  ASSERT_TRUE(log.open().has_value());
  EXPECT_EQ(log.report.segments, 3u);
  EXPECT_TRUE(log.has(large));
  EXPECT_TRUE(log.has(page_of(2)));
}

TEST(LogWriter, BytesThatDoNotAgreeNeverGetIntoABatch) {
  Sample page = page_of(1);
  page.bytes[5000] ^= 1;
  LogBatch batch{AlignedBuffer()};
  ASSERT_TRUE(batch.add(EntryType::page, page_of(0).record, page_of(0).bytes).has_value());
  EXPECT_EQ(batch.add(EntryType::page, page.record, page.bytes).error().code, Errc::bad_checksum);
  ASSERT_TRUE(batch.add(EntryType::page, page_of(2).record, page_of(2).bytes).has_value());
  Log log;
  ASSERT_TRUE(log.write(batch, {.sync = true}).status.has_value());
  EXPECT_TRUE(log.has(page_of(0)));
  EXPECT_FALSE(log.has(page_of(1)));
  EXPECT_TRUE(log.has(page_of(2)));
}

TEST(LogWriter, AnAckIsDurableUpToItsSequence) {
  Log log;
  WriteReport unsynced = log.put(page_of(0), {});
  WriteReport synced = log.put(page_of(1));
  EXPECT_LT(unsynced.durable_sequence, sequence_of(1, 1));
  EXPECT_EQ(synced.durable_sequence, sequence_of(1, 2));
  log.device.crash();
  ASSERT_TRUE(log.open().has_value());
  EXPECT_TRUE(log.has(page_of(0)));
  EXPECT_TRUE(log.has(page_of(1)));
}

TEST(LogWriter, AfterAFailedSyncTheNextSegmentTakesTheBatchAndTheRestIsCutOff) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Log log(seed);
    ASSERT_TRUE(log.put(page_of(0)).status.has_value());
    ASSERT_TRUE(log.put(page_of(1), {}).status.has_value());
    log.device.faults.sync_error = 1000;
    LogBatch batch{AlignedBuffer()};
    EXPECT_TRUE(batch.add(EntryType::page, page_of(2).record, page_of(2).bytes).has_value());
    WriteReport report = log.writer->write(batch, {.sync = true});
    EXPECT_EQ(report.status.error().code, Errc::io_error);
    ASSERT_EQ(report.failed.size(), 2u);
    EXPECT_EQ(report.failed[0].number, 1u);
    EXPECT_EQ(report.failed[0].durable_sequence, sequence_of(1, 1));
    EXPECT_EQ(report.failed[1].durable_sequence, sequence_of(2, 0));
    EXPECT_EQ(report.log_bytes, log.device.total_bytes());
    log.device.faults.sync_error = 0;
    ASSERT_TRUE(log.put(page_of(3)).status.has_value());
    // Not only a crash: what a restart shows is durable, so the rest is gone from there too.
    log.device.kill();
    ASSERT_TRUE(log.open().has_value());
    EXPECT_TRUE(log.has(page_of(0)));
    EXPECT_FALSE(log.has(page_of(1)));
    EXPECT_FALSE(log.has(page_of(2)));
    EXPECT_TRUE(log.has(page_of(3)));
  }
}

TEST(LogWriter, AFailedWriteIsTriedOnceMoreInTheNextSegment) {
  Log log(3);
  ASSERT_TRUE(log.put(page_of(0), {}).status.has_value());
  log.device.fail_next_writes = 1;
  WriteReport report = log.put(page_of(1));
  EXPECT_TRUE(report.status.has_value()) << report.status.error().to_string();
  ASSERT_EQ(report.failed.size(), 1u);
  // What stood before it was synced and stays.
  EXPECT_EQ(report.failed[0].durable_sequence, sequence_of(1, 1));
  EXPECT_EQ(report.lines.size(), 1u);
  log.device.crash();
  ASSERT_TRUE(log.open().has_value());
  EXPECT_TRUE(log.has(page_of(0)));
  EXPECT_TRUE(log.has(page_of(1)));
}

TEST(LogWriter, AFullDeviceCostsTheOldestSegmentOnce) {
  Log log(1, 64 << 10, 1 << 20);
  for (uint64_t i = 0; i < 15; ++i) {
    ASSERT_TRUE(log.put(page_of(i)).status.has_value());
  }
  log.device.capacity_bytes = log.device.total_bytes() + 4096;
  WriteReport report = log.put(page_of(15));
  EXPECT_TRUE(report.status.has_value()) << report.status.error().to_string();
  ASSERT_EQ(report.dropped.size(), 1u);
  EXPECT_EQ(report.dropped[0].number, 1u);
  EXPECT_TRUE(log.has(page_of(14)));
  EXPECT_TRUE(log.has(page_of(15)));
}

TEST(LogWriter, ADeviceThatOthersFillDoesNotCostTheWholeLog) {
  Log log(1, 64 << 10, 1 << 20);
  for (uint64_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(log.put(page_of(i)).status.has_value());
  }
  uint64_t dropped = 0;
  for (uint64_t i = 0; i < 10; ++i) {
    log.device.capacity_bytes = 0;
    WriteReport report = log.put(page_of(100 + i));
    EXPECT_EQ(report.status.error().code, Errc::no_space);
    dropped += report.dropped.size();
  }
  EXPECT_LE(dropped, 2u);
  EXPECT_TRUE(log.has(page_of(15)));
  // Nor does it in an hour, try for try.
  Log patient(1, 64 << 10, 64 << 20);
  for (uint64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(patient.put(page_of(i)).status.has_value());
  }
  const size_t before = patient.device.files().size();
  patient.device.capacity_bytes = 0;
  for (uint64_t second = 0; second < 3600; ++second) {
    EXPECT_TRUE(patient.put(page_of(1000)).status.has_error());
    patient.clock.advance_ns(1'000'000'000);
  }
  EXPECT_GE(patient.device.files().size() + 14, before);
  log.device.capacity_bytes = ~0ull;
  EXPECT_TRUE(log.put(page_of(30)).status.has_value());
  EXPECT_TRUE(log.has(page_of(30)));
}

TEST(LogWriter, EverySegmentHasTheDescriptorsOfItsPages) {
  Log log;
  Bytes descriptor(5000, 7);
  Key space = sha256(descriptor);
  log.writer->describe({0, space}, std::make_shared<Bytes>(descriptor));
  for (uint64_t i = 0; i < 40; ++i) {
    Sample page = page_of(i);
    page.record.space_id = space;
    ASSERT_TRUE(log.put(page).status.has_value());
  }
  ASSERT_FALSE(log.device.files().contains(segment_name(1)));
  ASSERT_TRUE(log.open().has_value());
  ASSERT_EQ(log.report.descriptors.size(), 1u);
  EXPECT_EQ(log.report.descriptors.front().space_id, space);
  EXPECT_EQ(log.report.descriptors.front().bytes, descriptor);
}

TEST(LogWriter, AStartKnowsTheNewestDescriptors) {
  Log log(1, 64 << 10, 1 << 20);
  std::vector<Key> spaces;
  for (uint8_t i = 0; i < 20; ++i) {
    const Bytes descriptor(100, i);
    spaces.push_back(sha256(descriptor));
    log.writer->describe({0, spaces.back()}, std::make_shared<Bytes>(descriptor));
  }
  // Each once, in one segment after the other; then the first one again, in the last segment.
  for (uint64_t i = 0; i <= 20; ++i) {
    Sample page = page_of(i);
    page.record.space_id = spaces[i % 20];
    ASSERT_TRUE(log.put(page).status.has_value());
  }
  for (bool is_sealed : {false, true}) {
    if (is_sealed) {
      ASSERT_TRUE(log.seal().status.has_value());
    }
    ASSERT_TRUE(log.open().has_value());
    ASSERT_EQ(log.report.descriptors.size(), kLogDescriptorsMax);
    EXPECT_EQ(log.report.descriptors.back().space_id, spaces[0]);
    EXPECT_EQ(log.report.descriptors.front().space_id, spaces[20 + 1 - kLogDescriptorsMax]);
  }
}

TEST(LogWriter, NamesAreSyncedBetweenTwoDrops) {
  // Else a tombstone's segment could be gone while the page that it deletes comes back.
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Log log(seed, 64 << 10, 192 << 10);
    uint64_t dropped = 0;
    for (uint64_t i = 0; dropped < 3; ++i) {
      dropped += log.put(page_of(i), {}).dropped.size();
    }
    log.device.crash();
    uint64_t least = ~0ull;
    for (const auto& [name, content] : log.device.files()) {
      least = std::min(least, *segment_number(name));
    }
    EXPECT_GE(least, 3u);
  }
}

}  // namespace
}  // namespace sluice::store
