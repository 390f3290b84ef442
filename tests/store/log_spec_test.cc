// store/FORMAT.md against the code: every field table, the limits, the names of the sync calls, and
// the example in hex.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "store/log_layout.h"
#include "tests/store/sample_log.h"
#include "tests/support/spec_tables.h"

namespace sluice::store {
namespace {

const testing::Spec& spec() {
  static const testing::Spec format("store/FORMAT.md");
  return format;
}

TEST(LogSpec, FieldTablesAreThoseOfTheCode) {
  spec().expect_fields("## Header", layout::kHeader, kBlockBytes);
  spec().expect_fields("## Entry", layout::kEntry, kLogEntryBytes);
  spec().expect_fields("## Head", layout::kHead, kLogHeadFixedBytes);
  spec().expect_fields("### Row ends", layout::kRow, layout::kRowBytes);
  spec().expect_fields("### Section sums", layout::kSection, kLogSectionBytes);
  spec().expect_fields("## Tombstone", layout::kDeleted, kDeletedKeyBytes);
  spec().expect_fields("## Trailer", layout::kTrailer, kBlockBytes);
}

TEST(LogSpec, NumbersAndNamesAreThoseOfTheCode) {
  const std::string& text = spec().text();
  auto says = [&](const std::string& words) {
    EXPECT_NE(text.find(words), std::string::npos) << words;
  };
  says(fmt::format("{:#010x}, the bytes `SLSG`", layout::kSegmentMagic));
  says(fmt::format("{:#010x}, the bytes `SLRC`", layout::kRecordMagic));
  says(fmt::format("{:#010x}, the bytes `SLTR`", layout::kTrailerMagic));
  says("at most 65,536 | too_large");
  EXPECT_EQ(kSectionSumsMax, 65536u);
  says("a head has at most 1,048,824 bytes");
  EXPECT_EQ(kLogHeadBytesMax, 1048824u);
  says("page 1 to 268,435,456; descriptor 1 to 65,536");
  EXPECT_EQ(kPageBytesMax, 268435456u);
  EXPECT_EQ(kDescriptorBytesMax, 65536u);
  says("the keys that it deletes, 1 to 1024");
  EXPECT_EQ(kTombstoneKeysMax, 1024u);
  says("1 to 2^40 - 1");
  EXPECT_EQ(kSegmentNumberMax, (1ull << 40) - 1);
  says("segment_number x 2^24");
  EXPECT_EQ(sequence_of(1, 0), 1u << 24);
  for (size_t i = 0; i < kSyncSites; ++i) {
    says("(`" + std::string(sync_site_name(static_cast<SyncSite>(i))) + "`)");
  }
}

// "offset hex" lines; what no line names is zero.
Bytes example_file() {
  Bytes file;
  bool inside = false;
  for (const std::string& line : spec().lines_under("## Example")) {
    if (line.starts_with("```")) {
      inside = !inside;
    } else if (inside && !line.empty()) {
      size_t space = line.find(' ');
      size_t at = std::stoul(line.substr(0, space));
      Bytes part = *from_hex(testing::trimmed(line.substr(space)));
      file.resize(std::max(file.size(), at + part.size()));
      std::copy(part.begin(), part.end(), file.begin() + static_cast<ptrdiff_t>(at));
    }
  }
  return file;
}

std::string as_example(const Bytes& file) {
  std::string text;
  constexpr size_t kLine = 56;
  for (size_t at = 0; at < file.size(); at += kLine) {
    ByteSpan part = ByteSpan(file).subspan(at, std::min(kLine, file.size() - at));
    while (!part.empty() && part.back() == 0) {
      part = part.first(part.size() - 1);
    }
    text += part.empty() ? "" : fmt::format("{} {}\n", at, to_hex(part));
  }
  return text;
}

TEST(LogSpec, TheExampleIsWhatTheCodeWrites) {
  Sample page = example_record();
  SampleSegment segment = make_segment(1, {&page, 1});
  EXPECT_EQ(example_file(), segment.file) << as_example(segment.file);
}

}  // namespace
}  // namespace sluice::store
