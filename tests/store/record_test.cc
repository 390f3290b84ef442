#include "store/record.h"

#include <gtest/gtest.h>

#include <algorithm>

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

}  // namespace
}  // namespace sluice::store
