// store/FORMAT.md against the code: every field table, the limits, the names of the sync calls, and
// the example in hex.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "store/log_layout.h"
#include "tests/store/sample_log.h"

namespace sluice::store {
namespace {

using Cells = std::vector<std::string>;

std::string document() {
  std::ifstream file(SLUICE_SOURCE_DIR "/store/FORMAT.md");
  EXPECT_TRUE(file.is_open());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> lines_under(const std::string& heading) {
  std::istringstream text(document());
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("#")) {
      inside = line == heading;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  EXPECT_FALSE(lines.empty()) << heading;
  return lines;
}

std::string trimmed(const std::string& text) {
  size_t first = text.find_first_not_of(' ');
  size_t last = text.find_last_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

// The rows of the table under a heading, without its head.
std::vector<Cells> table_under(const std::string& heading) {
  std::vector<Cells> rows;
  for (const std::string& line : lines_under(heading)) {
    if (!line.starts_with("| ")) {
      continue;
    }
    Cells cells;
    std::istringstream text(line.substr(1));
    for (std::string cell; std::getline(text, cell, '|');) {
      cells.push_back(trimmed(cell));
    }
    rows.push_back(cells);
  }
  if (!rows.empty()) {
    rows.erase(rows.begin());
  }
  return rows;
}

template <size_t N>
void expect_fields(const std::string& heading,
                   const std::array<layout::Field, N>& fields,
                   size_t bytes) {
  std::vector<Cells> rows = table_under(heading);
  ASSERT_EQ(rows.size(), N) << heading;
  size_t at = 0;
  for (size_t i = 0; i < N; ++i) {
    EXPECT_EQ(rows[i][0], std::to_string(fields[i].at)) << rows[i][2];
    EXPECT_EQ(rows[i][1], std::to_string(fields[i].bytes)) << rows[i][2];
    EXPECT_EQ(rows[i][2], fields[i].name);
    EXPECT_EQ(fields[i].at, at) << "a gap before " << fields[i].name;
    at += fields[i].bytes;
  }
  EXPECT_EQ(at, bytes) << heading;
}

TEST(LogSpec, FieldTablesAreThoseOfTheCode) {
  expect_fields("## Header", layout::kHeader, kBlockBytes);
  expect_fields("## Entry", layout::kEntry, kLogEntryBytes);
  expect_fields("## Head", layout::kHead, kLogHeadFixedBytes);
  expect_fields("### Section sums", layout::kSection, kLogSectionBytes);
  expect_fields("## Tombstone", layout::kDeleted, kDeletedKeyBytes);
  expect_fields("## Trailer", layout::kTrailer, kBlockBytes);
}

TEST(LogSpec, NumbersAndNamesAreThoseOfTheCode) {
  const std::string text = document();
  auto says = [&](const std::string& words) {
    EXPECT_NE(text.find(words), std::string::npos) << words;
  };
  says(fmt::format("{:#010x}, the bytes `SLSG`", layout::kSegmentMagic));
  says(fmt::format("{:#010x}, the bytes `SLRC`", layout::kRecordMagic));
  says(fmt::format("{:#010x}, the bytes `SLTR`", layout::kTrailerMagic));
  says("at most 65,536 | too_large");
  EXPECT_EQ(kSectionSumsMax, 65536u);
  says("a head has at most 1,573,072 bytes");
  EXPECT_EQ(kLogHeadBytesMax, 1573072u);
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
  for (const std::string& line : lines_under("## Example")) {
    if (line.starts_with("```")) {
      inside = !inside;
    } else if (inside && !line.empty()) {
      size_t space = line.find(' ');
      size_t at = std::stoul(line.substr(0, space));
      Bytes part = *from_hex(trimmed(line.substr(space)));
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
