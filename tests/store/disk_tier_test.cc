// The disk tier's rules one by one, on a simulated device and steps.
#include "tests/store/disk_tier_fixture.h"

namespace sluice::store {
namespace {

TEST_F(DiskTierSteps, OptionsOutOfRangeAreRefused) {
  auto refused = [&](auto change) {
    DiskTierConfig wrong;
    change(wrong);
    Status status = wrong.validate();
    return code(status) == Errc::bad_config;
  };
  EXPECT_TRUE(DiskTierConfig().validate().has_value());
  EXPECT_TRUE(refused([](DiskTierConfig& c) { c.segment_bytes = 4096; }));
  EXPECT_TRUE(refused([](DiskTierConfig& c) { c.segment_bytes += 1; }));
  EXPECT_TRUE(refused([](DiskTierConfig& c) { c.capacity_bytes = 3 * c.segment_bytes; }));
  EXPECT_TRUE(refused([](DiskTierConfig& c) { c.queue_bytes_max = 0; }));
  EXPECT_TRUE(refused([](DiskTierConfig& c) { c.batch_bytes = 0; }));
  EXPECT_TRUE(refused([](DiskTierConfig& c) { c.reads_max = 0; }));
  EXPECT_TRUE(refused([](DiskTierConfig& c) { c.read_bytes_max = 0; }));
  EXPECT_TRUE(refused([](DiskTierConfig& c) { c.sync_interval_ms = 0; }));
  EXPECT_TRUE(refused([](DiskTierConfig& c) { c.descriptors_max = 0; }));
}

TEST_F(DiskTierSteps, AWrittenPageIsFoundAndReadAsItWasPut) {
  Sample page = page_of(1);
  page.record.anchor = key_of(7);
  page.record.rows.ends[0].quality_kl = 12;
  put(page);
  auto entry = tier->find(0, key_of(1));
  ASSERT_TRUE(entry.has_value());
  EXPECT_TRUE(entry->is_durable);
  EXPECT_EQ(entry->bytes, 9000u);
  EXPECT_EQ(entry->record.anchor, key_of(7));
  EXPECT_TRUE(entry->record.sections.empty());
  auto read_back = read(page);
  ASSERT_TRUE(read_back.has_value());
  EXPECT_EQ(read_back->record, page.record);
  EXPECT_TRUE(std::ranges::equal(read_back->bytes, page.bytes));
  EXPECT_EQ(tier->stats().hits, 1u);
}

TEST_F(DiskTierSteps, TenantsDoNotSeeEachOther) {
  put(page_of(1));
  EXPECT_FALSE(tier->find(1, key_of(1)).has_value());
  EXPECT_EQ(code(tier->read(1, key_of(1), {})), Errc::not_found);
}

TEST_F(DiskTierSteps, AWriteWithoutAckIsDoneWhenWrittenAndDurableASecondLater) {
  Answer answer = make_answer();
  ASSERT_TRUE(write(page_of(1), false, answer).has_value());
  runner.finish();
  ASSERT_TRUE(answer->has_value());
  EXPECT_FALSE(tier->find(0, key_of(1))->is_durable);
  tier->tick();
  runner.finish();
  EXPECT_EQ(device.syncs_of(SyncSite::commit), 0u);
  clock.advance_ns(1'000'000'000);
  tier->tick();
  runner.finish();
  EXPECT_EQ(device.syncs_of(SyncSite::commit), 1u);
  EXPECT_TRUE(tier->find(0, key_of(1))->is_durable);
  clock.advance_ns(5'000'000'000);
  tier->tick();
  runner.finish();
  EXPECT_EQ(device.syncs_of(SyncSite::commit), 1u);
}

TEST_F(DiskTierSteps, WhatIsWrittenWithoutPauseIsDurableASecondLaterToo) {
  config.segment_bytes = 2 << 20;
  config.capacity_bytes = 8 << 20;
  open();
  for (uint64_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(write(page_of(i), false).has_value());
    runner.finish();
    clock.advance_ns(100'000'000);
  }
  for (uint64_t i = 0; i < 38; ++i) {
    EXPECT_TRUE(tier->find(0, key_of(i))->is_durable) << i;
  }
  EXPECT_LE(device.syncs_of(SyncSite::commit), 6u);
}

TEST_F(DiskTierSteps, AcksWaitForNoMoreThan32MiBThatComeBehindThem) {
  config.segment_bytes = 256 << 20;
  config.capacity_bytes = 1 << 30;
  open();
  Answer first = make_answer();
  ASSERT_TRUE(write(page_of(1), true, first).has_value());
  const Sample large = make_sample({.bytes = 1 << 20, .key = key_of(2)});
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(write(large, false).has_value());
  }
  while (!first->has_value()) {
    ASSERT_TRUE(runner.step());
  }
  EXPECT_GT(tier->stats().queued_bytes, 32u << 20);
}

TEST_F(DiskTierSteps, OneSyncAcksAllThatWasWrittenBeforeIt) {
  config.batch_bytes = 16 << 10;
  config.capacity_bytes = 8 << 20;
  open();
  std::vector<Answer> answers;
  for (uint64_t i = 0; i < 4; ++i) {
    answers.push_back(make_answer());
    ASSERT_TRUE(write(page_of(i), true, answers.back()).has_value());
  }
  runner.finish();
  for (const Answer& answer : answers) {
    ASSERT_TRUE(answer->has_value());
    EXPECT_TRUE((*answer)->has_value());
  }
  EXPECT_EQ(device.syncs_of(SyncSite::commit), 1u);
}

TEST_F(DiskTierSteps, WhatFollowsAnAckDoesNotHoldItBack) {
  config.batch_bytes = 16 << 10;
  open();
  Answer answer = make_answer();
  ASSERT_TRUE(write(page_of(1), true, answer).has_value());
  ASSERT_TRUE(write(page_of(2), false).has_value());
  runner.finish();
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ(code(**answer), Errc::ok);
}

TEST_F(DiskTierSteps, AFullQueueDropsWritesAndAnswersThoseThatWait) {
  config.queue_bytes_max = 1 << 20;
  open();
  uint64_t accepted = 0;
  while (write(page_of(accepted), false).has_value()) {
    ++accepted;
  }
  EXPECT_LE(tier->stats().queued_bytes, 1u << 20);
  EXPECT_GT(accepted, 100u);
  EXPECT_EQ(code(write(page_of(1), true)), Errc::overloaded);
  EXPECT_EQ(tier->stats().dropped_writes, 1u);
  EXPECT_EQ(tier->stats().overloaded_writes, 1u);
  uint64_t spaces = 0;
  while (spaces < 100 && tier->write_descriptor(0, key_of(spaces), Bytes(60'000)).has_value()) {
    ++spaces;
  }
  EXPECT_LE(spaces, 2u);
  EXPECT_EQ(code(tier->write_descriptor(0, key_of(spaces), Bytes(60'000))), Errc::overloaded);
  runner.finish();
  EXPECT_TRUE(tier->write_descriptor(0, key_of(spaces), Bytes(60'000)).has_value());
  runner.finish();
  EXPECT_EQ(tier->stats().queued_bytes, 0u);
  EXPECT_TRUE(write(page_of(1), false).has_value());
}

TEST_F(DiskTierSteps, PagesThatNoLogTakesAreRefusedAtOnce) {
  Sample page = page_of(1);
  page.bytes.pop_back();
  EXPECT_EQ(code(write(page, true)), Errc::invalid_argument);
  EXPECT_EQ(code(write(make_sample({.bytes = 200'000}), true)), Errc::too_large);
}

TEST_F(DiskTierSteps, BytesThatChangedWhileTheyWaitedAreNotWritten) {
  Sample page = page_of(1);
  auto bytes = std::make_shared<Bytes>(page.bytes);
  Answer answer = make_answer();
  DiskWrite write{.record = page.record, .bytes = *bytes, .keep_alive = bytes};
  ASSERT_TRUE(tier->write(std::move(write), into(answer)).has_value());
  (*bytes)[8000] ^= 1;
  runner.finish();
  EXPECT_EQ(code(**answer), Errc::bad_checksum);
  EXPECT_FALSE(finds(page));
  EXPECT_EQ(tier->stats().refused_writes, 1u);
  EXPECT_EQ(bytes.use_count(), 1);
}

TEST_F(DiskTierSteps, AQueuedWriteDoesNotComeBackAfterItsErase) {
  ASSERT_TRUE(write(page_of(1), false).has_value());
  Answer answer = make_answer();
  RecordId key{.key = key_of(1)};
  ASSERT_TRUE(tier->erase({&key, 1}, into(answer)).has_value());
  ASSERT_TRUE(write(page_of(2), false).has_value());
  while (runner.step()) {
    EXPECT_FALSE(finds(page_of(1)));
  }
  EXPECT_EQ(code(**answer), Errc::ok);
  device.kill();
  open();
  EXPECT_FALSE(finds(page_of(1)));
  EXPECT_TRUE(finds(page_of(2)));
}

TEST_F(DiskTierSteps, AReadOfAPageThatIsErasedMeanwhileFindsNothing) {
  put(page_of(1));
  std::optional<Errc> got;
  ASSERT_TRUE(tier->read(0,
                         key_of(1),
                         [&](Result<DiskPage> page) {
                           got = page.has_error() ? page.error().code : Errc::ok;
                         })
                  .has_value());
  RecordId key{.key = key_of(1)};
  ASSERT_TRUE(tier->erase({&key, 1}, {}).has_value());
  runner.finish();
  EXPECT_EQ(got, Errc::not_found);
}

TEST_F(DiskTierSteps, ManyKeysAreErasedAtOnce) {
  config.capacity_bytes = 8 << 20;
  open();
  put(page_of(1));
  std::vector<RecordId> keys;
  for (uint64_t i = 0; i < 3000; ++i) {
    keys.push_back({.key = key_of(i)});
  }
  Answer answer = make_answer();
  ASSERT_TRUE(tier->erase(keys, into(answer)).has_value());
  runner.finish();
  EXPECT_EQ(code(**answer), Errc::ok);
  EXPECT_FALSE(finds(page_of(1)));
  keys.resize(kKeysMax + 1);
  EXPECT_EQ(code(tier->erase(keys, {})), Errc::too_large);
}

TEST_F(DiskTierSteps, ErasedCountsPagesThatWereThere) {
  put(page_of(1));
  std::vector<RecordId> keys = {{.key = key_of(1)}, {.key = key_of(2)}};
  ASSERT_TRUE(tier->erase(keys, {}).has_value());
  runner.finish();
  EXPECT_EQ(tier->stats().erased, 1u);
}

TEST_F(DiskTierSteps, PagesThatAreStillHeldCountAsReads) {
  config.read_bytes_max = 1 << 10;
  open();
  put(page_of(1));
  {
    auto held = read(page_of(1));
    ASSERT_TRUE(held.has_value());
    EXPECT_EQ(tier->stats().reads_in_flight, 0u);
    EXPECT_EQ(read(page_of(1)).error().code, Errc::overloaded);
    EXPECT_EQ(tier->stats().reads_overloaded, 1u);
  }
  EXPECT_TRUE(read(page_of(1)).has_value());
}

TEST_F(DiskTierSteps, ReadsOnTheirWayAreBounded) {
  config.reads_max = 2;
  open();
  put(page_of(1));
  uint64_t answered = 0;
  auto count = [&](const Result<DiskPage>&) { ++answered; };
  EXPECT_TRUE(tier->read(0, key_of(1), count).has_value());
  EXPECT_TRUE(tier->read(0, key_of(1), count).has_value());
  EXPECT_EQ(code(tier->read(0, key_of(1), count)), Errc::overloaded);
  runner.finish();
  EXPECT_EQ(answered, 2u);
  EXPECT_EQ(tier->stats().reads_in_flight, 0u);
  EXPECT_EQ(tier->stats().reads_overloaded, 1u);
}

TEST_F(DiskTierSteps, ADamagedPageIsNamedAndGone) {
  put(page_of(1));
  SimDevice::flip(*device.files().at(segment_name(1)), kBlockBytes + 5000, 1);
  auto page = read(page_of(1));
  ASSERT_TRUE(page.has_error());
  EXPECT_EQ(page.error().code, Errc::damaged);
  EXPECT_NE(page.error().text.find("segment 0000000000000001 offset 4096"), std::string::npos);
  EXPECT_NE(lines.find("is damaged and out of the index"), std::string::npos);
  EXPECT_FALSE(finds(page_of(1)));
  EXPECT_EQ(tier->stats().damaged, 1u);
}

TEST_F(DiskTierSteps, DamageOnTheWayIsGoneTheSecondTime) {
  put(page_of(1));
  device.flip_read_in = 1;
  EXPECT_TRUE(read(page_of(1)).has_value());
  EXPECT_EQ(device.flip_read_in, 0u);
  EXPECT_EQ(tier->stats().damaged, 0u);
}

TEST_F(DiskTierSteps, APageThatTheDeviceCannotReadIsOutUntilARestart) {
  put(page_of(1));
  device.faults.read_error = 1000;
  EXPECT_EQ(read(page_of(1)).error().code, Errc::io_error);
  device.faults.read_error = 0;
  EXPECT_EQ(tier->stats().read_errors, 1u);
  EXPECT_FALSE(finds(page_of(1))) << "or the next put of it would not mend it";
  open();
  EXPECT_TRUE(read(page_of(1)).has_value());
}

TEST_F(DiskTierSteps, AReadOfAPageThatWentWithItsSegmentFindsNothing) {
  put(page_of(1));
  for (uint64_t i = 100; i < 140; ++i) {
    ASSERT_TRUE(write(page_of(i), false).has_value());
  }
  // The room is needed at once; that the page went is only known when the report comes.
  while (device.files().contains(segment_name(1))) {
    ASSERT_TRUE(runner.step());
  }
  ASSERT_TRUE(finds(page_of(1)));
  EXPECT_EQ(read(page_of(1)).error().code, Errc::not_found);
  EXPECT_FALSE(finds(page_of(1)));
  EXPECT_EQ(tier->stats().damaged + tier->stats().read_errors, 0u);
  EXPECT_EQ(lines.find("warning"), std::string::npos) << lines;
}

TEST_F(DiskTierSteps, AFullLogDropsItsOldestSegment) {
  put(page_of(1));
  for (uint64_t i = 100; i < 140; ++i) {
    ASSERT_TRUE(write(page_of(i), false).has_value());
  }
  runner.finish();
  EXPECT_FALSE(finds(page_of(1)));
  EXPECT_GT(tier->stats().evicted, 0u);
  EXPECT_LE(device.total_bytes(), config.capacity_bytes);
  EXPECT_NE(lines.find("info: segment 0000000000000001, the oldest, dropped to make room: 61440 "
                       "bytes, 4 pages\n"),
            std::string::npos)
      << lines;
  EXPECT_EQ(lines.find("0000000000000001"), lines.rfind("0000000000000001")) << "said once";
}

// A page of three rows, the last of which is long.
Sample page_of_rows() {
  Sample page = make_sample({.seed = 4, .bytes = 20'000, .key = key_of(1), .sections = 1});
  Record& record = page.record;
  record.sections.clear();
  uint64_t at = record.header_bytes;
  for (uint64_t end : {3000, 9000, 20'000}) {
    record.sections.push_back({end, xxh3_64(ByteSpan(page.bytes).subspan(at, end - at))});
    at = end;
  }
  set_rows(record, 1);
  return page;
}

TEST_F(DiskTierSteps, WantedRowsAreReadAloneAlsoAfterARestart) {
  const Sample page = page_of_rows();
  put(page);
  for (int restart = 0; restart < 2; ++restart) {
    EXPECT_EQ(tier->find(0, key_of(1))->record.rows, page.record.rows);
    const uint64_t before = device.stats().read_bytes;
    auto front = read_part(RecordPart::of_rows(page.record.rows, 2));
    ASSERT_TRUE(front.has_value()) << front.error().to_string();
    EXPECT_EQ(front->record.rows.count, 2u);
    EXPECT_EQ(front->bytes.size(), 9000u);
    EXPECT_TRUE(std::equal(front->bytes.begin(), front->bytes.end(), page.bytes.begin()));
    EXPECT_EQ(device.stats().read_bytes - before, 12'288u) << "head and two rows, in blocks";
    device.crash();
    open();
  }
}

TEST_F(DiskTierSteps, WantedSectionsAreReadAlone) {
  const Sample page = page_of_rows();
  put(page);
  const uint64_t before = device.stats().read_bytes;
  auto part = read_part({.rows = 3, .runs = {{.first = 1, .count = 1}}});
  ASSERT_TRUE(part.has_value()) << part.error().to_string();
  EXPECT_TRUE(
      std::equal(page.bytes.begin() + 3000, page.bytes.begin() + 9000, part->bytes.begin() + 3000));
  EXPECT_EQ(device.stats().read_bytes - before, 4096u + 12'288u);
  auto header = read_part({.rows = 1, .runs = {}});
  ASSERT_TRUE(header.has_value());
  EXPECT_TRUE(std::equal(
      page.bytes.begin(), page.bytes.begin() + page.record.header_bytes, header->bytes.begin()));
}

TEST_F(DiskTierSteps, APartThatThePageDoesNotHaveIsRefused) {
  put(page_of_rows());
  EXPECT_EQ(read_part({.rows = 0, .runs = {}}).error().code, Errc::invalid_argument);
  EXPECT_EQ(read_part({.rows = 4, .runs = {}}).error().code, Errc::invalid_argument);
  EXPECT_EQ(read_part({.rows = 2, .runs = {{.first = 2, .count = 1}}}).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(tier->stats().damaged, 0u);
}

TEST_F(DiskTierSteps, DamageInALaterRowHurtsOnlyWhoWantsIt) {
  const Sample page = page_of_rows();
  put(page);
  Bytes& file = device.files().begin()->second->now;
  auto last = std::search(file.begin(), file.end(), page.bytes.end() - 64, page.bytes.end());
  ASSERT_NE(last, file.end());
  *last ^= 1;
  EXPECT_TRUE(read_part(RecordPart::of_rows(page.record.rows, 2)).has_value());
  EXPECT_EQ(read(page).error().code, Errc::damaged);
  EXPECT_FALSE(finds(page));
}

TEST_F(DiskTierSteps, APageWithoutRowsIsRefused) {
  Sample page = page_of(1);
  page.record.rows = {};
  EXPECT_EQ(code(write(page, false)), Errc::invalid_argument);
}

TEST_F(DiskTierSteps, ACutPageIsReadShorterAlsoAfterARestart) {
  Sample page = page_of(1);
  set_rows(page.record, 1);
  put(page);
  Answer done = make_answer();
  DiskCut cut{.key = key_of(1), .encoding_id = page.record.encoding_id, .rows = 3};
  EXPECT_EQ(code(tier->cut(cut, {})), Errc::invalid_argument);
  cut.rows = 0;
  EXPECT_EQ(code(tier->cut(cut, {})), Errc::invalid_argument);
  cut.rows = 1;
  ASSERT_TRUE(tier->cut(cut, into(done)).has_value());
  runner.finish();
  EXPECT_EQ(code(**done), Errc::ok);
  for (int restart = 0; restart < 2; ++restart) {
    auto short_page = read(page);
    ASSERT_TRUE(short_page.has_value());
    EXPECT_EQ(short_page->bytes.size(), page.record.sections[0].end);
    EXPECT_EQ(short_page->record.sections.size(), 1u);
    EXPECT_EQ(short_page->record.quality_kl(), 20u);
    device.crash();
    open();
  }
  EXPECT_EQ(code(tier->cut(cut, {})), Errc::invalid_argument);
  cut.encoding_id = {};
  EXPECT_EQ(code(tier->cut(cut, {})), Errc::not_found);
}

TEST_F(DiskTierSteps, DescriptorsComeBackWithThePagesOfTheirSpace) {
  Bytes descriptor(100, 3);
  Key space = sha256(descriptor);
  Sample page = page_of(1);
  page.record.space_id = space;
  ASSERT_TRUE(tier->write_descriptor(0, space, descriptor).has_value());
  ASSERT_TRUE(tier->write_descriptor(0, space, descriptor).has_value());
  put(page);
  for (int restart = 0; restart < 2; ++restart) {
    device.crash();
    open();
    ASSERT_EQ(tier->recovery().descriptors.size(), 1u);
    EXPECT_EQ(tier->recovery().descriptors.front().bytes, descriptor);
    EXPECT_EQ(tier->recovery().descriptors.front().tenant, 0u);
  }
  EXPECT_EQ(code(tier->write_descriptor(1, space, Bytes(70'000))), Errc::too_large);
}

TEST_F(DiskTierSteps, OfTooManyDescriptorsTheOldestAreForgotten) {
  config.descriptors_max = 2;
  open();
  for (uint64_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(tier->write_descriptor(0, key_of(i), Bytes(10)).has_value());
  }
  for (uint64_t i = 0; i < 3; ++i) {
    Sample page = page_of(i);
    page.record.space_id = key_of(i);
    put(page);
  }
  open();
  ASSERT_EQ(tier->recovery().descriptors.size(), 2u);
  EXPECT_EQ(tier->recovery().descriptors.front().space_id, key_of(1));
  EXPECT_EQ(tier->recovery().descriptors.back().space_id, key_of(2));
  ASSERT_TRUE(tier->write_descriptor(0, key_of(0), Bytes(10)).has_value());
  open();
}

TEST_F(DiskTierSteps, ADrainedLogIsSealed) {
  put(page_of(1));
  ASSERT_TRUE(write(page_of(2), false).has_value());
  Answer answer = make_answer();
  tier->drain(into(answer));
  runner.finish();
  EXPECT_EQ(code(**answer), Errc::ok);
  open();
  EXPECT_EQ(tier->recovery().scanned_segments, 0u);
  EXPECT_EQ(tier->recovery().records, 2u);
}

TEST_F(DiskTierSteps, ADeviceSmallerThanTheLogTakesAllThatIsPut) {
  config.capacity_bytes = 64 << 20;
  device.capacity_bytes = 320 << 10;
  open();
  for (uint64_t i = 0; i < 200; ++i) {
    put(page_of(i));
  }
  EXPECT_EQ(tier->stats().failed_writes, 0u);
  EXPECT_GT(tier->stats().dropped_segments, 10u);
}

TEST_F(DiskTierSteps, AFullDeviceDropsWritesAndGoesOnReading) {
  put(page_of(1));
  put(page_of(2));
  device.capacity_bytes = 0;
  Answer answer = make_answer();
  ASSERT_TRUE(write(page_of(3), true, answer).has_value());
  runner.finish();
  EXPECT_EQ(code(**answer), Errc::no_space);
  EXPECT_EQ(tier->stats().failed_writes, 1u);
  device.capacity_bytes = ~0ull;
  clock.advance_ns(10'000'000'000);
  put(page_of(4));
  EXPECT_TRUE(read(page_of(4)).has_value());
}

TEST_F(DiskTierSteps, ATierThatEndsAnswersNobody) {
  Answer answer = make_answer();
  ASSERT_TRUE(write(page_of(1), true, answer).has_value());
  tier.reset();
  runner.finish();
  EXPECT_FALSE(answer->has_value());
}

}  // namespace
}  // namespace sluice::store
