// FORMAT.md against the code: field tables, frequency tables, constants, and the example in hex.
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "codec/codec.h"
#include "codec/direct_rom.h"
#include "codec/page_layout.h"
#include "tests/codec/golden.h"
#include "tests/codec/sample_kv.h"
#include "tests/support/spec_tables.h"

namespace sluice::codec {
namespace {

using testing::Cells;

const testing::Spec& spec() {
  static const testing::Spec format("codec/FORMAT.md");
  return format;
}

TEST(Format, FieldTablesAreThoseOfTheCode) {
  spec().expect_fields("## Header", layout::kHeader, kPageFixedBytes);
  spec().expect_fields("### Planes", layout::kPlane, kPlaneEntryBytes);
  spec().expect_fields("### Rows", layout::kRow, kRowEntryBytes);
  spec().expect_fields("### Section table", layout::kSection, kSectionEntryBytes);
}

TEST(Format, FrequencyTablesAreThoseOfTheCode) {
  std::vector<Cells> rows = spec().table_under("### Tables");
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
  std::vector<Cells> rows = spec().table_under("### Tags");
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
  for (const std::string& line : spec().lines_under("## Example")) {
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
