// What recovery makes of damage, each kind named by what an operator would see.
#include "store/log_recovery.h"

#include "store/log_layout.h"
#include "tests/store/log_fixture.h"

namespace sluice::store {
namespace {

// Ten pages in three segments, the last one not sealed.
std::unique_ptr<Log> ten_pages() {
  auto log = std::make_unique<Log>();
  for (uint64_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(log->put(page_of(i)).status.has_value());
  }
  return log;
}

constexpr uint64_t kRecordBytes = 3 * kBlockBytes;  // of page_of()

void spoil(SimContent& content, uint64_t at) {
  SimDevice::flip(content, at, 3);
}

// How many of the ten pages are there; no page may be another's.
uint64_t pages_left(Log& log) {
  uint64_t left = 0;
  for (uint64_t i = 0; i < 10; ++i) {
    auto bytes = log.read(key_of(i));
    left += bytes.has_value();
    EXPECT_TRUE(bytes.has_error() || *bytes == page_of(i).bytes);
  }
  return left;
}

TEST(LogRecovery, AnEmptyFolderIsAnEmptyLog) {
  Log log;
  EXPECT_EQ(log.report.segments, 0u);
  EXPECT_TRUE(log.report.lines.empty());
  EXPECT_EQ(log.device.syncs_of(SyncSite::recovered_folder), 1u);
}

TEST(LogRecovery, ScannedSegmentsAreSealedSoThatTheNextStartNeedsNoScan) {
  auto log = ten_pages();
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(log->report.scanned_segments, 1u);
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(log->report.scanned_segments, 0u);
  EXPECT_EQ(pages_left(*log), 10u);
  EXPECT_TRUE(log->report.lines.empty()) << log->lines();
}

// Where a power loss took footers, the next segment's header proves what need not be written again.
TEST(LogRecovery, OnlyWhatNothingProvesToBeDurableIsWrittenAgain) {
  auto log = ten_pages();
  for (uint64_t number : {uint64_t{1}, uint64_t{2}}) {
    SimContent& content = log->file(number);
    content.now.resize(content.now.size() - kBlockBytes);
  }
  const uint64_t last_bytes = log->file(3).now.size();
  const uint64_t written = log->device.stats().written_bytes;
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(log->report.scanned_segments, 3u);
  EXPECT_EQ(pages_left(*log), 10u);
  const uint64_t footers = 3 * sealed_tail_bytes(4);
  EXPECT_EQ(log->device.stats().written_bytes - written, last_bytes + footers);
}

TEST(LogRecovery, NumbersAreNeverUsedAgain) {
  auto log = ten_pages();
  ASSERT_TRUE(log->device.create(segment_name(7)).has_value());
  ASSERT_TRUE(log->open().has_value());
  ASSERT_FALSE(log->device.files().contains(segment_name(7)));
  EXPECT_EQ(log->put(page_of(11)).opened.at(0).number, 8u);
}

TEST(LogRecovery, ATornTailIsDroppedWithALineThatSaysWhere) {
  auto log = ten_pages();
  SimContent& last = log->file(3);
  uint64_t end = last.now.size();
  last.now.resize(end - kBlockBytes);
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 9u);
  EXPECT_EQ(log->report.dropped_tails, 1u);
  EXPECT_TRUE(log->says("segment 0000000000000003 offset 16384: the last 8192 bytes"))
      << log->lines();
  EXPECT_TRUE(log->says("the file ends at 24576, needed are 12288 bytes from 16384"))
      << log->lines();
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(log->report.dropped_tails, 0u);
}

TEST(LogRecovery, ATailOfOtherBytesIsDroppedWithExpectedAndGot) {
  auto log = ten_pages();
  SimContent& last = log->file(3);
  last.now[last.now.size() - kRecordBytes + 5000] ^= 1;
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 9u);
  EXPECT_TRUE(log->says("bytes hash to")) << log->lines();
}

TEST(LogRecovery, DamageInTheMiddleIsPassedOver) {
  auto log = ten_pages();
  spoil(log->file(3), kBlockBytes + 100);
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 9u);
  EXPECT_EQ(log->report.damaged, 1u);
  EXPECT_TRUE(log->says("segment 0000000000000003 offset 4096: 12288 bytes are damaged"))
      << log->lines();
}

TEST(LogRecovery, ADamagedFooterOrTrailerIsMadeAgainAndCostsNothing) {
  // In the trailer's zeros, its checksum and its magic; in the footer's first entry and in its
  // last.
  for (uint64_t from_end : {uint64_t{100},
                            uint64_t{8},
                            kBlockBytes,
                            2 * kBlockBytes - 10,
                            2 * kBlockBytes - 4 * kLogEntryBytes + 1}) {
    auto log = ten_pages();
    spoil(log->file(1), log->file(1).now.size() - from_end);
    ASSERT_TRUE(log->open().has_value());
    EXPECT_EQ(log->report.scanned_segments, 2u);
    EXPECT_EQ(log->report.dropped_tails, 0u) << log->lines();
    EXPECT_EQ(log->report.damaged, 1u);
    EXPECT_TRUE(
        log->says("segment 0000000000000001 offset 53248: the footer is damaged, and made "
                  "again from the records, of which this costs none: "))
        << log->lines();
    EXPECT_TRUE(log->says("stored") || log->says("expected")) << log->lines();
    EXPECT_EQ(pages_left(*log), 10u);
    ASSERT_TRUE(log->open().has_value());
    EXPECT_EQ(log->report.scanned_segments, 0u);
  }
}

TEST(LogRecovery, ADamagedRecordBeforeADamagedFooterIsNamedAsWhatItIs) {
  auto log = ten_pages();
  uint64_t end = log->file(1).now.size() - 2 * kBlockBytes;
  spoil(log->file(1), end + 10);
  spoil(log->file(1), end - kBlockBytes);  // in the last record
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 9u);
  EXPECT_EQ(log->report.dropped_tails, 0u) << log->lines();
  EXPECT_TRUE(log->says("segment 0000000000000001 offset 40960: 12288 bytes are damaged"))
      << log->lines();
}

TEST(LogRecovery, ADamagedHeaderCostsAScanOnly) {
  auto log = ten_pages();
  spoil(log->file(2), 10);
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 10u);
  EXPECT_EQ(log->report.dropped_tails, 0u) << log->lines();
  EXPECT_TRUE(
      log->says("segment 0000000000000002 offset 0: the header is damaged, which costs no "
                "record"))
      << log->lines();
}

TEST(LogRecovery, WithoutAnyHeaderTheFirstRecordTellsTheLog) {
  Log log;
  ASSERT_TRUE(log.put(page_of(0)).status.has_value());
  spoil(log.file(1), 4);
  ASSERT_TRUE(log.open().has_value());
  EXPECT_TRUE(log.has(page_of(0))) << log.lines();
}

TEST(LogRecovery, ALaterVersionStopsTheStartAndNamesTheCommand) {
  auto log = ten_pages();
  MutByteSpan header = MutByteSpan(log->file(2).now).first(kBlockBytes);
  store_le<uint32_t>(header.data() + layout::kVersion.at, 3);
  store_le(header.data() + layout::kBlockXxh3.at, xxh3_64(header.first(layout::kBlockXxh3.at)));
  Status status = log->open();
  ASSERT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::bad_version);
  EXPECT_NE(status.error().text.find("version 3, this build reads 2"), std::string::npos);
  EXPECT_NE(status.error().text.find("rm /sim/*.seg"), std::string::npos);
  EXPECT_EQ(log->device.files().size(), 3u);
}

TEST(LogRecovery, ASegmentOfAnotherLogStopsTheStart) {
  auto log = ten_pages();
  MutByteSpan header = MutByteSpan(log->file(2).now).first(kBlockBytes);
  encode_segment_header({.log_id = {9}, .number = 2}, header);
  Status status = log->open();
  ASSERT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::bad_value);
  EXPECT_NE(status.error().text.find("rm /sim/0000000000000002.seg"), std::string::npos);
}

TEST(LogRecovery, OfTwoLogsThatHaveAsManySegmentsTheLaterOneIsTheLog) {
  Log log;
  for (uint64_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(log.put(page_of(i)).status.has_value());
  }
  ASSERT_EQ(log.device.files().size(), 2u);
  for (const uint64_t foreign : {1, 2}) {
    Log both;
    both.device.load(log.device.image());
    MutByteSpan header =
        MutByteSpan(both.device.files().at(segment_name(foreign))->now).first(kBlockBytes);
    encode_segment_header({.log_id = {9}, .number = foreign}, header);
    Status status = both.open();
    ASSERT_TRUE(status.has_error());
    EXPECT_NE(status.error().text.find("rm /sim/0000000000000001.seg"), std::string::npos);
  }
}

TEST(LogRecovery, ANumberOutOfRangeStopsTheStart) {
  Log log;
  ASSERT_TRUE(log.device.create("ffffffffffffffff.seg").has_value());
  EXPECT_EQ(log.open().error().code, Errc::bad_value);
}

TEST(LogRecovery, OtherFilesAreNotLookedAt) {
  auto log = ten_pages();
  ASSERT_TRUE(log->device.create("lock").has_value());
  ASSERT_TRUE(log->device.create("notes.txt").has_value());
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(log->report.segments, 3u);
  EXPECT_TRUE(log->device.files().contains("notes.txt"));
}

TEST(LogRecovery, ASegmentWhoseCreationWasCutOffIsRemoved) {
  auto log = ten_pages();
  ASSERT_TRUE(log->device.create(segment_name(4)).has_value());
  ASSERT_TRUE(log->open().has_value());
  EXPECT_FALSE(log->device.files().contains(segment_name(4)));
  EXPECT_EQ(pages_left(*log), 10u);
  EXPECT_EQ(log->put(page_of(11)).opened.at(0).number, 5u);
}

TEST(LogRecovery, TheLaterOfTwoPagesCounts) {
  Log log;
  for (uint64_t version = 0; version < 10; ++version) {
    ASSERT_TRUE(log.put(page_of(1, version)).status.has_value());
  }
  ASSERT_TRUE(log.open().has_value());
  EXPECT_TRUE(log.has(page_of(1, 9)));
  EXPECT_EQ(log.report.records, 1u);
}

TEST(LogRecovery, DeletedPagesStayDeletedAndLaterOnesCount) {
  for (bool sealed : {false, true}) {
    Log log;
    ASSERT_TRUE(log.put(page_of(1)).status.has_value());
    ASSERT_TRUE(log.put(page_of(2)).status.has_value());
    ASSERT_TRUE(log.erase({{.key = key_of(1)}, {.key = key_of(2)}}).status.has_value());
    ASSERT_TRUE(log.put(page_of(2, 5)).status.has_value());
    if (sealed) {
      ASSERT_TRUE(log.seal().status.has_value());
    }
    ASSERT_TRUE(log.open().has_value());
    EXPECT_EQ(log.read(key_of(1)).error().code, Errc::not_found);
    EXPECT_TRUE(log.has(page_of(2, 5)));
    EXPECT_EQ(log.report.tombstones, 2u);
  }
}

TEST(LogRecovery, OneDamagedPlaceBringsNoDeletedPageBack) {
  for (uint64_t copy = 0; copy < 2; ++copy) {
    Log log;
    ASSERT_TRUE(log.put(page_of(1)).status.has_value());
    ASSERT_TRUE(log.erase({{.key = key_of(1)}}).status.has_value());
    ASSERT_TRUE(log.put(page_of(2)).status.has_value());
    spoil(log.file(1), kBlockBytes + kRecordBytes + copy * kBlockBytes + 220);
    ASSERT_TRUE(log.open().has_value());
    EXPECT_EQ(log.report.damaged, 1u);
    EXPECT_EQ(log.read(key_of(1)).error().code, Errc::not_found);
    EXPECT_TRUE(log.has(page_of(2)));
  }
}

TEST(LogRecovery, ACutCountsForItsEncodingOnly) {
  for (bool other : {false, true}) {
    Log log;
    Sample page = page_of(1);
    set_rows(page.record, 1);
    ASSERT_TRUE(log.put(page).status.has_value());
    LogEntry cut{.type = EntryType::cut,
                 .bytes = page.record.sections[0].end,
                 .rows = {.count = 1},
                 .key = key_of(1),
                 .encoding_id = page.record.encoding_id};
    cut.encoding_id[0] ^= other ? 1 : 0;
    LogBatch batch{AlignedBuffer()};
    batch.add_bare(cut);
    ASSERT_TRUE(log.write(batch, {.sync = true}).status.has_value());
    ASSERT_TRUE(log.open().has_value());
    const IndexEntry* entry = log.index->find(0, key_of(1));
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(log.report.cuts, other ? 0u : 1u);
    EXPECT_EQ(entry->log.bytes, other ? 9000 : cut.bytes);
    EXPECT_EQ(entry->log.rows.count, other ? 3u : 1u);
    EXPECT_EQ(entry->log.rows.last().quality_kl, other ? 0u : 20u);
  }
}

TEST(LogRecovery, RecordsInOtherPlacesAreNotTaken) {
  // Two extents of one file swapped, two of different files swapped, one copied over another.
  for (int how = 0; how < 3; ++how) {
    auto log = ten_pages();
    Bytes& first = log->file(how == 1 ? 1 : 3).now;
    Bytes& second = log->file(3).now;
    auto a = first.begin() + kBlockBytes;
    auto b = second.begin() + static_cast<ptrdiff_t>(kBlockBytes + kRecordBytes);
    if (how == 2) {
      std::copy_n(a, kRecordBytes, b);
    } else {
      std::swap_ranges(a, a + kRecordBytes, b);
    }
    ASSERT_TRUE(log->open().has_value());
    uint64_t indexed = log->report.records;
    EXPECT_EQ(pages_left(*log), how == 0 ? 8u : how == 1 ? 8u : 9u);
    EXPECT_EQ(indexed, how == 0 ? 8u : 9u);  // the footer still names one of the sealed segment
    EXPECT_TRUE(log->says("written for segment")) << log->lines();
  }
}

TEST(LogRecovery, DamageThatIsGoneTheSecondTimeCostsNothing) {
  uint64_t reads = 0;
  for (uint64_t at = 1; reads == 0; ++at) {
    auto log = ten_pages();
    log->device.flip_read_in = at;
    ASSERT_TRUE(log->open().has_value());
    EXPECT_EQ(pages_left(*log), 10u) << "read " << at << "\n" << log->lines();
    reads = log->device.flip_read_in != 0 ? at : 0;
  }
  EXPECT_GT(reads, 10u);
}

TEST(LogRecovery, AFullDeviceStillShowsItsPages) {
  auto log = ten_pages();
  log->device.capacity_bytes = 0;
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 10u);
  EXPECT_TRUE(log->says("stays without a footer")) << log->lines();
}

TEST(LogRecovery, ADeviceThatCannotSyncStillShowsItsPagesAndSaysSo) {
  auto log = ten_pages();
  log->device.faults.sync_error = 1000;
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 10u);
  EXPECT_TRUE(log->says("is not durable")) << log->lines();
  EXPECT_TRUE(log->index->find(0, key_of(0))->segment->has_failed);
}

TEST(LogRecovery, PlacesThatCannotBeReadAreLeftAlone) {
  auto log = ten_pages();
  Bytes before = log->file(3).now;
  log->device.unreadable_from = kBlockBytes;
  ASSERT_TRUE(log->open().has_value());
  log->device.unreadable_from = ~0ull;
  EXPECT_TRUE(std::equal(before.begin(), before.end(), log->file(3).now.begin()));
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 10u) << log->lines();
}

// A disk may try for seconds at each: not once for every record before the place.
TEST(LogRecovery, APlaceThatCannotBeReadIsNotTriedAgainForEachRecordBeforeIt) {
  Log log(1, 8 << 20, 32 << 20);
  constexpr uint64_t kPages = 200;
  for (uint64_t i = 0; i < kPages; ++i) {
    ASSERT_TRUE(log.put(page_of(i)).status.has_value());
  }
  log.device.unreadable_from = kBlockBytes + (kPages - 1) * kRecordBytes + kBlockBytes;
  ASSERT_TRUE(log.open().has_value());
  EXPECT_EQ(log.index->records(), kPages - 1);
  EXPECT_GT(log.device.failed_reads, 0u);
  EXPECT_LT(log.device.failed_reads, 20u);
}

// A disk may try for seconds at each: of one that is dying not every block is tried.
TEST(LogRecovery, AfterSixtyFourPlacesThatCannotBeReadTheRestIsLeftAlone) {
  Log log(1, 8 << 20, 32 << 20);
  for (uint64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(log.put(page_of(i)).status.has_value());
  }
  log.device.unreadable_from = kBlockBytes + 100 * kRecordBytes;
  ASSERT_TRUE(log.open().has_value());
  EXPECT_EQ(log.index->records(), 100u);
  EXPECT_GE(log.device.failed_reads, 64u);
  EXPECT_LT(log.device.failed_reads, 140u) << "each place is tried twice";
  log.device.unreadable_from = ~0ull;
  ASSERT_TRUE(log.open().has_value());
  EXPECT_EQ(log.index->records(), 200u);
}

TEST(LogRecovery, ALogWhoseHeadersCannotBeReadIsNotBegunAnew) {
  auto log = ten_pages();
  log->device.unreadable_from = 0;
  Status status = log->open();
  ASSERT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::io_error);
  EXPECT_NE(status.error().text.find("rm "), std::string::npos) << status.error().text;
  log->device.unreadable_from = ~0ull;
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 10u);
}

TEST(LogRecovery, ATrailerNamesTheLogWhereHeadersAreDamaged) {
  auto log = ten_pages();
  for (uint64_t number = 1; number <= 3; ++number) {
    spoil(log->file(number), 100);
    spoil(log->file(number), kBlockBytes + 100);
  }
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 7u) << log->lines();
}

// Nothing but a record in the middle says of which log this is.
TEST(LogRecovery, AnyRecordNamesTheLogOfASegmentThatWasNotSealed) {
  Log log;
  for (uint64_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(log.put(page_of(i)).status.has_value());
  }
  spoil(log.file(1), 100);
  spoil(log.file(1), kBlockBytes + 100);
  ASSERT_TRUE(log.open().has_value());
  EXPECT_FALSE(log.has(page_of(0)));
  EXPECT_TRUE(log.has(page_of(1))) << log.lines();
  EXPECT_TRUE(log.has(page_of(2)));
}

TEST(LogRecovery, ARenamedSegmentIsLeftAloneAndServedAgainUnderItsOwnName) {
  auto log = ten_pages();
  auto& files = log->device.files();
  files[segment_name(9)] = files.at(segment_name(2));
  files.erase(segment_name(2));
  ASSERT_TRUE(log->open().has_value());
  EXPECT_LT(pages_left(*log), 10u);
  EXPECT_TRUE(log->says("left alone")) << log->lines();
  EXPECT_TRUE(log->says("rm /sim/0000000000000009.seg")) << log->lines();
  ASSERT_TRUE(files.contains(segment_name(9)));
  files[segment_name(2)] = files.at(segment_name(9));
  files.erase(segment_name(9));
  ASSERT_TRUE(log->open().has_value());
  EXPECT_EQ(pages_left(*log), 10u) << log->lines();
}

TEST(LogRecovery, AnEmptySegmentThatCannotBeRemovedStays) {
  auto log = ten_pages();
  ASSERT_TRUE(log->device.create(segment_name(9)).has_value());
  log->device.keeps_names = true;
  ASSERT_TRUE(log->open().has_value());
  EXPECT_TRUE(log->says("without a record: stays")) << log->lines();
  EXPECT_EQ(pages_left(*log), 10u);
}

// Each block of a page that is passed over may look like a record of this log, with the longest of
// heads.
TEST(LogRecovery, BlocksThatLookLikeRecordsCostNoMoreThanOthers) {
  Log log(1, 4 << 20, 16 << 20);
  Sample page = make_sample({.bytes = 2 << 20, .key = key_of(0)});
  uint64_t first = kBlockBytes - log_head_bytes(1);  // of the page, at the beginning of a block
  for (uint64_t at = first; at + kBlockBytes < page.bytes.size(); at += kBlockBytes) {
    LogPlace place{sample_log_id(), 1, at + (1 << 30)};
    std::vector<SectionSum> sections(kSectionSumsMax);
    LogEntry entry{.head_bytes = log_head_bytes(sections.size()), .offset = place.offset};
    Bytes head(entry.head_bytes);
    encode_head(place, entry, sections, head);
    std::copy_n(head.begin(), kBlockBytes, page.bytes.begin() + static_cast<ptrdiff_t>(at));
  }
  LogBatch batch{AlignedBuffer()};
  page.record.sections = {
      {.end = page.bytes.size(), .xxh3 = xxh3_64(ByteSpan(page.bytes).subspan(24))}};
  set_rows(page.record, 1);
  EXPECT_TRUE(batch.add(EntryType::page, page.record, page.bytes).has_value());
  ASSERT_TRUE(log.write(batch, {.sync = true}).status.has_value());
  ASSERT_TRUE(log.put(page_of(1)).status.has_value());
  spoil(log.file(1), kBlockBytes + 100);
  uint64_t before = log.device.stats().read_bytes;
  ASSERT_TRUE(log.open().has_value());
  EXPECT_TRUE(log.has(page_of(1)));
  EXPECT_LT(log.device.stats().read_bytes - before, 4 * log.file(1).now.size());
}

TEST(LogRecovery, LinesAreBounded) {
  Log log(1, 64 << 10, 1 << 30);
  for (uint64_t i = 1; i <= kRecoveryLinesMax + 10; ++i) {
    ASSERT_TRUE(log.device.create(segment_name(i)).has_value());
  }
  ASSERT_TRUE(log.open().has_value());
  EXPECT_EQ(log.report.lines.size(), kRecoveryLinesMax);
}

}  // namespace
}  // namespace sluice::store
