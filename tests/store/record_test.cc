#include "store/record.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "tests/store/sample_record.h"

namespace sluice::store {
namespace {

TEST(Record, SaysHowLongItIs) {
  EXPECT_EQ(make_sample({.seed = 1, .bytes = 1000}).record.bytes(), 1000u);
  EXPECT_EQ(make_sample({.seed = 1, .bytes = 0, .header_bytes = 40}).record.bytes(), 40u);
}

TEST(Record, WholeBytesVerify) {
  Sample sample = make_sample({.seed = 1, .bytes = 1000});
  EXPECT_TRUE(verify(sample.record, sample.bytes).has_value());
}

TEST(Record, ADescriptorIsARecordOfAHeaderAlone) {
  Bytes descriptor = {1, 2, 3};
  Record record;
  Hash32 digest = sha256(descriptor);
  std::copy_n(digest.begin(), record.encoding_id.size(), record.encoding_id.begin());
  record.header_bytes = 3;
  EXPECT_TRUE(verify(record, descriptor).has_value());
  descriptor[1] = 7;
  EXPECT_EQ(verify(record, descriptor).error().code, Errc::bad_checksum);
}

TEST(Record, EveryFlippedByteIsFoundAndNamed) {
  Sample sample = make_sample({.seed = 2, .bytes = 700});
  for (size_t i = 0; i < sample.bytes.size(); ++i) {
    sample.bytes[i] ^= 0x10;
    Status status = verify(sample.record, sample.bytes);
    ASSERT_TRUE(status.has_error()) << "byte " << i;
    EXPECT_EQ(status.error().code, Errc::bad_checksum);
    size_t section = 0;
    while (sample.record.sections[section].end <= i) {
      ++section;
    }
    uint64_t start =
        section == 0 ? sample.record.header_bytes : sample.record.sections[section - 1].end;
    std::string where = i < sample.record.header_bytes
                            ? "header at offset 0"
                            : fmt::format("section {} at offset {}", section, start);
    EXPECT_NE(status.error().text.find(where), std::string::npos) << status.error().text;
    sample.bytes[i] ^= 0x10;
  }
}

TEST(Record, AnyOtherLengthIsTruncated) {
  Sample sample = make_sample({.seed = 3, .bytes = 300});
  for (size_t length = 0; length < 300; ++length) {
    EXPECT_EQ(verify(sample.record, ByteSpan(sample.bytes).first(length)).error().code,
              Errc::truncated);
  }
  sample.bytes.push_back(0);
  EXPECT_EQ(verify(sample.record, sample.bytes).error().code, Errc::truncated);
}

TEST(Record, SectionsThatEndBeforeTheyBeginAreRefused) {
  Sample sample = make_sample({.seed = 4, .bytes = 300});
  sample.record.sections[1].end = sample.record.sections[0].end - 1;
  EXPECT_EQ(verify(sample.record, sample.bytes).error().code, Errc::bad_value);
  sample = make_sample({.seed = 4, .bytes = 300});
  sample.record.sections[0].end = sample.record.header_bytes - 1;
  EXPECT_EQ(verify(sample.record, sample.bytes).error().code, Errc::bad_value);
}

TEST(Record, RowsThatEndWhereNoSectionDoesAreRefused) {
  auto error_of = [](const std::function<void(RowEnds&)>& change) {
    Record record = make_sample({.seed = 5, .bytes = 300, .row_a_section = true}).record;
    change(record.rows);
    Status status = check_layout(record);
    return status.has_error() ? status.error().code : Errc::ok;
  };
  EXPECT_EQ(error_of([](RowEnds&) {}), Errc::ok);
  EXPECT_EQ(error_of([](RowEnds& rows) { rows.ends[0].end += 1; }), Errc::bad_value);
  EXPECT_EQ(error_of([](RowEnds& rows) { rows.ends[0].sections = 3; }), Errc::bad_value);
  EXPECT_EQ(error_of([](RowEnds& rows) { rows.ends[1].sections = 0; }), Errc::bad_value);
  EXPECT_EQ(error_of([](RowEnds& rows) { rows.ends[1].sections = 9; }), Errc::bad_value);
  EXPECT_EQ(error_of([](RowEnds& rows) { rows.count = 2; }), Errc::bad_value);
  EXPECT_EQ(error_of([](RowEnds& rows) { rows.count = 0; }), Errc::bad_value);
  EXPECT_EQ(error_of([](RowEnds& rows) { rows.count = kRecordRowsMax + 1; }), Errc::bad_value);
}

TEST(Record, NamesTheFewestRowsOfAQuality) {
  const RowEnds rows = make_sample({.seed = 5, .bytes = 300, .row_a_section = true}).record.rows;
  ASSERT_EQ(rows.count, 3u);
  EXPECT_EQ(rows.within(0), 3u);
  EXPECT_EQ(rows.within(9), 3u);
  EXPECT_EQ(rows.within(10), 2u);
  EXPECT_EQ(rows.within(~0u), 1u);
  EXPECT_EQ(RowEnds().within(~0u), 0u);
}

TEST(Record, AShortenedOneIsItsFirstRows) {
  Sample sample = make_sample({.seed = 6, .bytes = 300, .row_a_section = true});
  Record record = sample.record;
  record.shorten(2);
  EXPECT_EQ(record.bytes(), sample.record.sections[1].end);
  EXPECT_EQ(record.quality_kl(), 10u);
  EXPECT_TRUE(verify(record, ByteSpan(sample.bytes).first(record.bytes())).has_value());
}

TEST(Record, DamageOutsideOfARunIsNotLookedFor) {
  Sample sample = make_sample({.seed = 5, .bytes = 300});
  sample.bytes.back() ^= 1;
  const std::vector<SectionRun> front = {{.first = 0, .count = 2}};
  const std::vector<SectionRun> back = {{.first = 0, .count = 1}, {.first = 2, .count = 1}};
  EXPECT_TRUE(verify_runs(sample.record, sample.bytes, front).has_value());
  EXPECT_EQ(verify_runs(sample.record, sample.bytes, back).error().code, Errc::bad_checksum);
  sample.bytes[0] ^= 1;
  EXPECT_EQ(verify_runs(sample.record, sample.bytes, front).error().code, Errc::bad_checksum);
}

TEST(Record, RunsBeyondItsSectionsAreRefused) {
  Sample sample = make_sample({.seed = 5, .bytes = 300});
  const std::vector<SectionRun> run = {{.first = 2, .count = 2}};
  EXPECT_EQ(verify_runs(sample.record, sample.bytes, run).error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace sluice::store
