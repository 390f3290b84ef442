// FORMAT.md against the code: field tables, frequency tables, constants, and the example in hex.
#include <gtest/gtest.h>

#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "codec/codec.h"
#include "codec/direct_rom.h"
#include "codec/lanes.h"
#include "codec/page_layout.h"
#include "codec/profile_layout.h"
#include "codec/progressive_rom.h"
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
  using namespace profile_layout;
  spec().expect_fields("### Profile header", profile_layout::kHeader, kHeaderBytes);
  spec().expect_fields("### Profile layers", kLayerEntry, kLayerBytes);
  spec().expect_fields("### Profile block head", kBlockHead, kBlockHeadBytes);
  spec().expect_fields("### Profile channels", kChannel, kChannelBytes);
  spec().expect_fields("### Profile pairs", kPair, kPairBytes);
  spec().expect_fields("### Profile extras", kExtraHead, kExtraHeadBytes);
}

std::string joined(const std::vector<int>& numbers) {
  std::string text;
  for (int number : numbers) {
    text += (text.empty() ? "" : " ") + std::to_string(number);
  }
  return text;
}

// The first three cells and the last one of a row; its frequencies are all of 4096.
void expect_model(const Cells& row, size_t scale, const ScaleModel& model) {
  std::vector<int> frequencies;
  int first = -kSymbolZero;
  for (int code = 0; code < 32; ++code) {
    if (model.frequencies[static_cast<size_t>(code)] != 0) {
      first = frequencies.empty() ? code - kSymbolZero : first;
      frequencies.push_back(model.frequencies[static_cast<size_t>(code)]);
    }
  }
  EXPECT_EQ(row[0], std::to_string(scale));
  EXPECT_EQ(row[1], std::to_string(model.low_bits));
  EXPECT_EQ(row[2], std::to_string(first) + " to " + std::to_string(-first));
  EXPECT_EQ(row.back(), joined(frequencies));
  EXPECT_EQ(std::accumulate(frequencies.begin(), frequencies.end(), 0),
            static_cast<int>(kFrequencyTotal));
}

TEST(Format, ScalesAreThoseOfTheCode) {
  std::vector<Cells> rows = spec().table_under("### Scales");
  ASSERT_EQ(rows.size(), kScales);
  for (size_t scale = 0; scale < kScales; ++scale) {
    expect_model(rows[scale], scale, kScaleModels[scale]);
    for (size_t level = 0; level < kOffsets.size(); ++level) {
      const auto& offsets = kOffsets[level][scale];
      EXPECT_EQ(rows[scale][3 + level], joined({offsets.begin(), offsets.end()}));
    }
  }
}

TEST(Format, RefinementsAreThoseOfTheCode) {
  std::vector<Cells> rows = spec().table_under("### Refinements");
  ASSERT_EQ(rows.size(), kScales);
  for (size_t scale = 0; scale < kScales; ++scale) {
    for (size_t size = 0; size < kRefinements[scale].size(); ++size) {
      const auto& frequencies = kRefinements[scale][size];
      EXPECT_EQ(rows[scale][1 + size], joined({frequencies.begin(), frequencies.end()}));
      EXPECT_EQ(std::accumulate(frequencies.begin(), frequencies.end(), 0u), kFrequencyTotal);
    }
  }
}

TEST(Format, ResidualsAreThoseOfTheCode) {
  std::vector<Cells> rows = spec().table_under("### Residuals");
  ASSERT_EQ(rows.size(), kScales);
  for (size_t scale = 0; scale < kScales; ++scale) {
    expect_model(rows[scale], scale, kResidualModels[scale]);
  }
}

TEST(Format, ConstantsOfTheSineAreThoseOfTheCode) {
  std::vector<Cells> rows = spec().table_under("### Rotation");
  ASSERT_EQ(rows.size(), kSine.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i][0], "a" + std::to_string(i));
    EXPECT_EQ(rows[i][1], std::to_string(kSine[i]));
  }
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
    EXPECT_EQ(sum, 1u << kProbabilityBits) << "table " << t;
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
