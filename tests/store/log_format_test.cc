// The log's bytes: what is encoded is parsed again, and every way to be wrong is named.
#include "store/log_format.h"

#include <gtest/gtest.h>

#include <functional>

#include "store/log_layout.h"
#include "tests/store/sample_log.h"

namespace sluice::store {
namespace {

SampleSegment sample() {
  Sample pages[] = {make_sample({.seed = 1, .bytes = 9000, .tenant = 3}),
                    make_sample({.seed = 2, .bytes = 100, .key = key_of(1), .sections = 1})};
  return make_segment(5, pages);
}

MutByteSpan head_of(SampleSegment& segment) {
  return MutByteSpan(segment.file)
      .subspan(segment.entries[0].offset, segment.entries[0].head_bytes);
}

MutByteSpan last_block(SampleSegment& segment) {
  return MutByteSpan(segment.file).last(kBlockBytes);
}

void restamp_head(MutByteSpan head) {
  store_le(head.data() + layout::kHeadXxh3.at, xxh3_64(head.subspan(layout::kHeadChecksummedFrom)));
}

void restamp_block(MutByteSpan block) {
  store_le(block.data() + layout::kBlockXxh3.at, xxh3_64(block.first(layout::kBlockXxh3.at)));
}

template <class T>
void set(MutByteSpan bytes, const Field& field, T value) {
  store_le<T>(bytes.data() + field.at, value);
}

// The error of the sample's first head after a change that its checksum covers.
Errc head_error(const std::function<void(MutByteSpan head, MutByteSpan entry)>& change) {
  SampleSegment segment = sample();
  MutByteSpan head = head_of(segment);
  change(head, head.subspan(layout::kRecordEntry.at, kLogEntryBytes));
  restamp_head(head);
  auto parsed = parse_head(head, segment.place(0));
  return parsed.has_error() ? parsed.error().code : Errc::ok;
}

Errc block_error(bool trailer, const std::function<void(MutByteSpan)>& change, bool stamp = true) {
  SampleSegment segment = sample();
  MutByteSpan block = trailer ? last_block(segment) : MutByteSpan(segment.file).first(kBlockBytes);
  change(block);
  if (stamp) {
    restamp_block(block);
  }
  if (trailer) {
    auto parsed = parse_trailer(block, segment.header, segment.file.size());
    return parsed.has_error() ? parsed.error().code : Errc::ok;
  }
  auto parsed = parse_segment_header(block);
  return parsed.has_error() ? parsed.error().code : Errc::ok;
}

TEST(LogFormat, SegmentNamesAreNumbersAndNothingElseIs) {
  EXPECT_EQ(segment_name(42), "000000000000002a.seg");
  EXPECT_EQ(segment_number("000000000000002a.seg"), 42u);
  for (const char* name : {"2a.seg",
                           "000000000000002A.seg",
                           "000000000000002g.seg",
                           "000000000000002a.sex",
                           "0000000000000002a.seg",
                           ""}) {
    EXPECT_FALSE(segment_number(name).has_value()) << name;
  }
}

TEST(LogFormat, ASegmentIsParsedAsItWasWritten) {
  SampleSegment segment = sample();
  auto header = parse_segment_header(ByteSpan(segment.file).first(kBlockBytes));
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->number, 5u);
  EXPECT_EQ(header->log_id, sample_log_id());
  for (size_t i = 0; i < 2; ++i) {
    auto head =
        parse_head(ByteSpan(segment.file).subspan(segment.entries[i].offset), segment.place(i));
    ASSERT_TRUE(head.has_value()) << head.error().to_string();
    EXPECT_EQ(head->entry, segment.entries[i]);
    ByteSpan body =
        ByteSpan(segment.file)
            .subspan(segment.entries[i].offset + head->entry.head_bytes, head->entry.bytes);
    EXPECT_TRUE(verify(head->record(), body).has_value());
  }
  auto trailer = parse_trailer(last_block(segment), segment.header, segment.file.size());
  ASSERT_TRUE(trailer.has_value());
  auto entries = parse_footer(
      ByteSpan(segment.file).subspan(trailer->footer_offset, trailer->footer_bytes), *trailer);
  ASSERT_TRUE(entries.has_value());
  EXPECT_EQ(*entries, segment.entries);
}

TEST(LogFormat, ARecordKeepsAllItsFields) {
  Sample page = make_sample({.seed = 3, .tenant = 9, .anchor = key_of(4), .row_a_section = true});
  page.record.space_id.fill(5);
  page.record.rows.ends[1].quality_kl = 70;
  page.record.preference = 2;
  SampleSegment segment = make_segment(1, {&page, 1});
  auto head = parse_head(head_of(segment), segment.place(0));
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->record(), page.record);
}

TEST(LogFormat, DeletedKeysAreParsedAsTheyWereWritten) {
  std::vector<RecordId> keys = {{.tenant = 1, .key = key_of(1)}, {.tenant = 2, .key = key_of(9)}};
  Bytes body(2 * kDeletedKeyBytes);
  encode_deleted(keys, body);
  auto parsed = parse_deleted(body);
  ASSERT_TRUE(parsed.has_value());
  ASSERT_EQ(parsed->size(), 2u);
  EXPECT_EQ((*parsed)[1].tenant, 2u);
  EXPECT_EQ((*parsed)[1].key, key_of(9));
  EXPECT_EQ(parse_deleted(ByteSpan(body).first(40)).error().code, Errc::bad_value);
  EXPECT_EQ(parse_deleted({}).error().code, Errc::bad_value);
  EXPECT_EQ(parse_deleted(Bytes(kDeletedKeyBytes * (kTombstoneKeysMax + 1))).error().code,
            Errc::bad_value);
}

TEST(LogFormat, EveryFlippedBitOfHeadFooterHeaderAndTrailerIsFound) {
  SampleSegment segment = sample();
  auto check = [&](uint64_t at, uint64_t bytes, auto parses) {
    for (uint64_t i = at; i < at + bytes; ++i) {
      segment.file[i] ^= static_cast<uint8_t>(1 << i % 8);
      ASSERT_FALSE(parses()) << "offset " << i;
      segment.file[i] ^= static_cast<uint8_t>(1 << i % 8);
    }
    ASSERT_TRUE(parses());
  };
  check(0, kBlockBytes, [&] {
    return parse_segment_header(ByteSpan(segment.file).first(kBlockBytes)).has_value();
  });
  check(segment.entries[0].offset, segment.entries[0].head_bytes, [&] {
    return parse_head(ByteSpan(segment.file).subspan(kBlockBytes), segment.place(0)).has_value();
  });
  auto whole = parse_trailer(last_block(segment), segment.header, segment.file.size());
  check(segment.file.size() - kBlockBytes, kBlockBytes, [&] {
    return parse_trailer(last_block(segment), segment.header, segment.file.size()).has_value();
  });
  check(whole->footer_offset, whole->footer_bytes, [&] {
    ByteSpan footer = ByteSpan(segment.file).subspan(whole->footer_offset, whole->footer_bytes);
    return parse_footer(footer, *whole).has_value();
  });
}

TEST(LogFormat, AHeadOfAnotherPlaceSegmentOrLogIsRefused) {
  SampleSegment segment = sample();
  ByteSpan head = head_of(segment);
  LogPlace place = segment.place(0);
  for (int i = 0; i < 3; ++i) {
    LogPlace wrong = place;
    wrong.offset += i == 0 ? kBlockBytes : 0;
    wrong.segment += i == 1 ? 1 : 0;
    wrong.log_id[0] ^= i == 2 ? 1 : 0;
    auto parsed = parse_head(head, wrong);
    ASSERT_TRUE(parsed.has_error());
    EXPECT_EQ(parsed.error().code, Errc::bad_value);
  }
  EXPECT_NE(parse_head(head, {place.log_id, 6, 8192}).error().text.find("written for segment"),
            std::string::npos);
}

TEST(LogFormat, AHeadThatIsNoHeadIsRefused) {
  SampleSegment segment = sample();
  Bytes head(head_of(segment).begin(), head_of(segment).end());
  EXPECT_EQ(parse_head(ByteSpan(head).first(100), segment.place(0)).error().code, Errc::truncated);
  EXPECT_EQ(parse_head(ByteSpan(head).first(head.size() - 1), segment.place(0)).error().code,
            Errc::truncated);
  EXPECT_EQ(parse_head(Bytes(kBlockBytes), segment.place(0)).error().code, Errc::bad_magic);
  set(head, layout::kSections, kSectionSumsMax + 1);
  EXPECT_EQ(parse_head(head, segment.place(0)).error().code, Errc::too_large);
}

TEST(LogFormat, HeadFieldsOutOfRangeAreRefused) {
  auto entry_field = [](const Field& field, auto value) {
    return head_error([&](MutByteSpan, MutByteSpan entry) { set(entry, field, value); });
  };
  EXPECT_EQ(entry_field(layout::kType, uint32_t{0}), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kType, uint32_t{5}), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kType, uint32_t{2}), Errc::bad_value);  // descriptor with sections
  EXPECT_EQ(entry_field(layout::kType, uint32_t{3}), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kType, uint32_t{4}), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kHeadBytes, uint32_t{247}), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kHeadBytes, uint32_t{249}), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kSequence, sequence_of(5, 0)), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kSequence, sequence_of(4, 9)), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kBytes, uint64_t{0}), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kBytes, uint64_t{8999}), Errc::bad_value);  // sections say 9000
  EXPECT_EQ(entry_field(layout::kBytes, kPageBytesMax + 1), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kHeaderBytes, uint32_t{9001}), Errc::bad_value);
  EXPECT_EQ(entry_field(layout::kHeaderBytes, kPageHeaderBytesMax + 1), Errc::bad_value);
  auto section_field = [](const Field& field, auto value) {
    return head_error([&](MutByteSpan head, MutByteSpan) {
      set(head.subspan(kLogHeadFixedBytes), field, value);
    });
  };
  EXPECT_EQ(section_field(layout::kSectionEnd, uint64_t{3}), Errc::bad_value);
  EXPECT_EQ(section_field(layout::kSectionEnd, uint64_t{1} << 40), Errc::bad_value);
}

TEST(LogFormat, RowsThatDoNotDivideThePageAreRefused) {
  auto error_of = [](const std::function<void(LogEntry&)>& change) {
    Sample page = make_sample({.seed = 3, .bytes = 900, .row_a_section = true});
    LogEntry entry = entry_of(EntryType::page, page.record);
    entry.offset = kBlockBytes;
    entry.sequence = sequence_of(5, 1);
    change(entry);
    const LogPlace place{sample_log_id(), 5, kBlockBytes};
    Bytes head(entry.head_bytes);
    encode_head(place, entry, page.record.sections, head);
    auto parsed = parse_head(head, place);
    return parsed.has_error() ? parsed.error().code : Errc::ok;
  };
  EXPECT_EQ(error_of([](LogEntry&) {}), Errc::ok);
  EXPECT_EQ(error_of([](LogEntry& entry) { entry.rows.count = 0; }), Errc::bad_value);
  EXPECT_EQ(error_of([](LogEntry& entry) { entry.rows.count = 5; }), Errc::bad_value);
  EXPECT_EQ(error_of([](LogEntry& entry) { entry.rows.count = 2; }), Errc::bad_value);
  EXPECT_EQ(error_of([](LogEntry& entry) { entry.rows.ends[2].end -= 1; }), Errc::bad_value);
  EXPECT_EQ(error_of([](LogEntry& entry) { entry.rows.ends[2].sections += 1; }), Errc::bad_value);
  EXPECT_EQ(error_of([](LogEntry& entry) { entry.rows.ends[0].end = 1; }), Errc::bad_value);
  EXPECT_EQ(error_of([](LogEntry& entry) { entry.rows.ends[1].sections = 0; }), Errc::bad_value);
  EXPECT_EQ(error_of([](LogEntry& entry) { entry.rows.ends[3].quality_kl = 1; }), Errc::bad_value);
  // Only the section sums say that no section ends there.
  EXPECT_EQ(error_of([](LogEntry& entry) { entry.rows.ends[0].end += 1; }), Errc::bad_value);
}

TEST(LogFormat, TombstonesDescriptorsCutsAndLossesHaveLimits) {
  auto error_of = [](LogEntry entry) {
    entry.head_bytes = log_head_bytes(0);
    entry.offset = kBlockBytes;
    entry.sequence = sequence_of(5, 1);
    Bytes head(entry.head_bytes);
    encode_head({sample_log_id(), 5, kBlockBytes}, entry, {}, head);
    auto parsed = parse_head(head, {sample_log_id(), 5, kBlockBytes});
    return parsed.has_error() ? parsed.error().code : Errc::ok;
  };
  using enum EntryType;
  EXPECT_EQ(error_of({.type = tombstone, .bytes = 36, .header_bytes = 36}), Errc::ok);
  EXPECT_EQ(error_of({.type = tombstone, .bytes = 37, .header_bytes = 37}), Errc::bad_value);
  EXPECT_EQ(error_of({.type = tombstone, .bytes = 36, .header_bytes = 35}), Errc::bad_value);
  EXPECT_EQ(error_of({.type = tombstone, .bytes = 36 * 1025, .header_bytes = 36 * 1025}),
            Errc::bad_value);
  EXPECT_EQ(error_of({.type = descriptor, .bytes = 65536, .header_bytes = 65536}), Errc::ok);
  EXPECT_EQ(error_of({.type = descriptor, .bytes = 65537, .header_bytes = 65537}), Errc::bad_value);
  EXPECT_EQ(error_of({.type = cut, .bytes = 100, .rows = {.count = 1}}), Errc::ok);
  EXPECT_EQ(error_of({.type = cut, .bytes = 0, .rows = {.count = 1}}), Errc::bad_value);
  EXPECT_EQ(error_of({.type = cut, .bytes = 100}), Errc::bad_value);
  EXPECT_EQ(error_of({.type = cut, .bytes = 100, .rows = {.count = 5}}), Errc::bad_value);
  EXPECT_EQ(error_of({.type = loss, .bytes = sequence_of(1, 1)}), Errc::ok);
  EXPECT_EQ(error_of({.type = loss, .bytes = sequence_of(1, 0)}), Errc::bad_value);
  EXPECT_EQ(error_of({.type = loss, .bytes = sequence_of(5, 2)}), Errc::bad_value);
  EXPECT_EQ(error_of({.type = loss, .bytes = sequence_of(1, 1), .header_bytes = 1}),
            Errc::bad_value);
  EXPECT_EQ(error_of({.type = static_cast<EntryType>(6), .bytes = 1}), Errc::bad_value);
}

TEST(LogFormat, SegmentHeadersThatAreWrongAreRefused) {
  EXPECT_EQ(block_error(false, [](MutByteSpan b) { b[0] = 0; }), Errc::bad_magic);
  EXPECT_EQ(block_error(
                false, [](MutByteSpan b) { b[30] ^= 1; }, false),
            Errc::bad_checksum);
  EXPECT_EQ(block_error(false, [](MutByteSpan b) { set(b, layout::kVersion, uint32_t{3}); }),
            Errc::bad_version);
  // A version that is only a flipped bit stops nobody.
  EXPECT_EQ(block_error(
                false, [](MutByteSpan b) { set(b, layout::kVersion, uint32_t{3}); }, false),
            Errc::bad_checksum);
  EXPECT_EQ(block_error(false, [](MutByteSpan b) { b[100] = 1; }), Errc::reserved_set);
  EXPECT_EQ(block_error(false,
                        [](MutByteSpan b) { set(b, layout::kPreviousDurable, uint64_t{1} << 60); }),
            Errc::bad_value);
  EXPECT_EQ(
      block_error(false,
                  [](MutByteSpan b) { set(b, layout::kSegmentNumber, kSegmentNumberMax + 1); }),
      Errc::bad_value);
}

TEST(LogFormat, TrailersThatAreWrongAreRefused) {
  auto field_error = [](const Field& field, auto value) {
    return block_error(true, [&](MutByteSpan b) { set(b, field, value); });
  };
  EXPECT_EQ(field_error(layout::kMagic, layout::kSegmentMagic), Errc::bad_magic);
  EXPECT_EQ(field_error(layout::kVersion, uint32_t{7}), Errc::bad_version);
  EXPECT_EQ(block_error(
                true, [](MutByteSpan b) { b[50] ^= 1; }, false),
            Errc::bad_checksum);
  EXPECT_EQ(field_error(layout::kSegmentNumber, uint64_t{6}), Errc::bad_value);
  EXPECT_EQ(field_error(layout::kLogId, uint64_t{6}), Errc::bad_value);
  EXPECT_EQ(field_error(layout::kFooterOffset, uint64_t{0}), Errc::bad_value);
  EXPECT_EQ(field_error(layout::kFooterOffset, ~uint64_t{4095}), Errc::bad_value);
  EXPECT_EQ(field_error(layout::kFooterBytes, uint64_t{208 * 100}), Errc::bad_value);
  EXPECT_EQ(field_error(layout::kFooterBytes, uint64_t{167}), Errc::bad_value);
  EXPECT_EQ(field_error(layout::kFooterBytes, kFooterBytesMax + 1), Errc::too_large);
  EXPECT_EQ(block_error(true, [](MutByteSpan b) { b[200] = 1; }), Errc::reserved_set);
}

TEST(LogFormat, AFooterWhoseEntriesOverlapOrReachIntoItIsRefused) {
  for (int which = 0; which < 2; ++which) {
    SampleSegment segment = sample();
    segment.entries[1].offset = which == 0 ? segment.entries[0].offset : uint64_t{1} << 30;
    uint64_t tail = sealed_tail_bytes(2);
    MutByteSpan out = MutByteSpan(segment.file).last(tail);
    encode_sealed_tail(segment.header, segment.file.size() - tail, segment.entries, out);
    auto trailer = parse_trailer(last_block(segment), segment.header, segment.file.size());
    ASSERT_TRUE(trailer.has_value());
    auto entries = parse_footer(out.first(trailer->footer_bytes), *trailer);
    ASSERT_TRUE(entries.has_error());
    EXPECT_EQ(entries.error().code, Errc::bad_value);
  }
}

}  // namespace
}  // namespace sluice::store
