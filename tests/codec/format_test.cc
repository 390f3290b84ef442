// FORMAT.md against the code: field tables, frequency tables, constants, and the example in hex.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "codec/codec.h"
#include "codec/direct_rom.h"
#include "codec/page_layout.h"
#include "tests/codec/golden.h"
#include "tests/codec/sample_kv.h"

namespace sluice::codec {
namespace {

using Cells = std::vector<std::string>;

std::vector<std::string> document() {
  std::ifstream file(SLUICE_SOURCE_DIR "/codec/FORMAT.md");
  EXPECT_TRUE(file.is_open());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
  }
  return lines;
}

// The lines under a heading, down to the next heading.
std::vector<std::string> section_of(const std::string& heading) {
  std::vector<std::string> lines;
  bool inside = false;
  for (const std::string& line : document()) {
    if (line.starts_with("#")) {
      inside = line == heading;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  EXPECT_FALSE(lines.empty()) << heading;
  return lines;
}

// The rows of the table under a heading, without its head.
std::vector<Cells> table_under(const std::string& heading) {
  std::vector<Cells> rows;
  for (const std::string& line : section_of(heading)) {
    if (!line.starts_with("| ")) {
      continue;
    }
    Cells cells;
    std::istringstream text(line.substr(2));
    for (std::string cell; std::getline(text, cell, '|');) {
      cells.push_back(cell.substr(
          cell.find_first_not_of(' ') == std::string::npos ? 0 : cell.find_first_not_of(' ')));
      cells.back().erase(cells.back().find_last_not_of(' ') + 1);
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
                   size_t entry_bytes) {
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
  EXPECT_EQ(at, entry_bytes) << heading;
}

TEST(Format, FieldTablesAreThoseOfTheCode) {
  expect_fields("## Header", layout::kHeader, kPageFixedBytes);
  expect_fields("### Planes", layout::kPlane, kPlaneEntryBytes);
  expect_fields("### Rows", layout::kRow, kRowEntryBytes);
  expect_fields("### Section table", layout::kSection, kSectionEntryBytes);
}

TEST(Format, FrequencyTablesAreThoseOfTheCode) {
  std::vector<Cells> rows = table_under("### Tables");
  ASSERT_EQ(rows.size(), size_t{kDirectTables});
  for (size_t t = 0; t < rows.size(); ++t) {
    EXPECT_EQ(rows[t][0], std::to_string(t));
    std::istringstream text(rows[t][1]);
    uint32_t sum = 0;
    for (uint16_t frequency : kDirectFrequencies[t]) {
      uint32_t printed = 0;
      text >> printed;
      EXPECT_EQ(printed, frequency) << "table " << t;
      EXPECT_GE(printed, 1u);
      sum += printed;
    }
    EXPECT_EQ(sum, 1u << kDirectProbabilityBits) << "table " << t;
    EXPECT_FALSE(text >> sum) << "table " << t << " has more numbers than symbols";
  }
}

TEST(Format, TagRangesAreThoseOfTheCode) {
  std::vector<Cells> rows = table_under("### Tags");
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0][0], "0 to " + std::to_string(kDirectCodedTags - 1));
  EXPECT_EQ(rows[1][0],
            std::to_string(kDirectCodedTags) + " to " + std::to_string(kDirectTagConstant - 1));
  EXPECT_EQ(rows[2][0], std::to_string(kDirectTagConstant));
  EXPECT_EQ(rows[3][0], std::to_string(kDirectTagRaw));
}

TEST(Format, TheExampleIsTheGoldenPageAndDecodesToWhatItSays) {
  std::string hex;
  bool inside = false;
  for (const std::string& line : section_of("## Example")) {
    if (line.starts_with("```")) {
      inside = !inside;
    } else if (inside) {
      hex += line;
    }
  }
  std::erase(hex, ' ');
  Bytes page = from_hex(hex).value();
  EXPECT_EQ(page, read_golden("example.page"));

  Result<PageHeader> header = verify_page(page);
  ASSERT_TRUE(header.has_value()) << header.error().to_string();
  Bytes tensors(header->geometry.bytes());
  Workspace workspace;
  ASSERT_TRUE(decode_page(*header, page, tensors, workspace).has_value());
  for (size_t token = 0; token < 32; ++token) {
    EXPECT_EQ(load_le<uint16_t>(tensors.data() + 8 * token + 2), 0x3c00);
    EXPECT_EQ(load_le<uint16_t>(tensors.data() + 8 * token + 6), 0);
  }
  EXPECT_EQ(header->sections[0].flags, 0u);
}

}  // namespace
}  // namespace sluice::codec
