// The page container: what a header says, refuses and selects.
#include "codec/page.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <tuple>

#include "codec/page_layout.h"
#include "src/base/limits.h"
#include "tests/codec/restamp.h"
#include "tests/codec/sample_kv.h"

namespace sluice::codec {
namespace {

// Ten layers of 3 x 64 at 64 tokens: 3 layers a section, 4 groups, the last of one layer.
PageHeader sample_header() {
  PageHeader header;
  for (size_t i = 0; i < header.page_key.size(); ++i) {
    header.page_key[i] = static_cast<uint8_t>(i + 1);
  }
  header.encoding = Encoding::direct;
  header.provenance_kl = 7;
  header.first_position = uint64_t{1} << 40;
  header.geometry = kv_geometry(DType::f16, 10, 64, 3, 64);
  header.stored = {DType::f16, DType::f16};
  header.layers_per_section = 3;
  header.rows = {Row{}};
  for (uint32_t i = 0; i < 8; ++i) {
    header.sections.push_back({.bytes = 1000 + i, .flags = 0, .xxh3 = i});
  }
  return header;
}

Bytes serialised(const PageHeader& header) {
  Result<Bytes> bytes = serialise_page_header(header);
  EXPECT_TRUE(bytes.has_value()) << bytes.error().to_string();
  return bytes.has_value() ? *bytes : Bytes{};
}

Errc parse_error(ByteSpan bytes) {
  Result<PageHeader> header = parse_page_header(bytes);
  return header.has_error() ? header.error().code : Errc::ok;
}

// The error of the sample header with one byte replaced and its checksum made right again.
Errc error_with(size_t at, uint8_t value) {
  Bytes bytes = serialised(sample_header());
  bytes[at] = value;
  restamp(bytes);
  return parse_error(bytes);
}

Errc error_of(const std::function<void(PageHeader&)>& change) {
  PageHeader header = sample_header();
  change(header);
  Result<Bytes> bytes = serialise_page_header(header);
  return bytes.has_error() ? bytes.error().code : Errc::ok;
}

TEST(PageHeader, ComesBackAsItWasWritten) {
  PageHeader header = sample_header();
  Result<PageHeader> parsed = parse_page_header(serialised(header));
  ASSERT_TRUE(parsed.has_value()) << parsed.error().to_string();
  EXPECT_EQ(*parsed, header);
}

TEST(PageHeader, MayBeFollowedByThePage) {
  Bytes bytes = serialised(sample_header());
  size_t header_bytes = bytes.size();
  bytes.resize(header_bytes + 100, 0xee);
  ASSERT_TRUE(parse_page_header(bytes).has_value());
  EXPECT_EQ(peek_header_bytes(ByteSpan(bytes).first(kPageFixedBytes)).value(), header_bytes);
}

TEST(PageHeader, CutAnywhereIsTruncated) {
  Bytes bytes = serialised(sample_header());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(parse_error(ByteSpan(bytes).first(size)), Errc::truncated) << size;
  }
}

TEST(PageHeader, EveryFlippedBitIsNoticed) {
  Bytes bytes = serialised(sample_header());
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_NE(parse_error(bytes), Errc::ok) << bit;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST(PageHeader, NamesWhatItRefuses) {
  EXPECT_EQ(error_with(layout::kMagic.at, 0), Errc::bad_magic);
  EXPECT_EQ(error_with(layout::kVersion.at, 2), Errc::bad_version);
  EXPECT_EQ(error_with(layout::kHeaderBytes.at + 3, 1), Errc::too_large);
  EXPECT_EQ(error_with(layout::kHeaderBytes.at + 1, 0), Errc::bad_value);  // below 128
  EXPECT_EQ(error_with(layout::kEncoding.at, 0), Errc::bad_value);
  EXPECT_EQ(error_with(layout::kEncoding.at, 3), Errc::bad_value);  // without profile
  EXPECT_EQ(error_with(layout::kEncoding.at, 4), Errc::unsupported);
  EXPECT_EQ(error_with(layout::kEncoding.at, 5), Errc::bad_value);
  EXPECT_EQ(error_with(layout::kPlanes.at, 0), Errc::bad_value);
  EXPECT_EQ(error_with(layout::kPlanes.at, 200), Errc::bad_value);
  EXPECT_EQ(error_with(layout::kRows.at, 2), Errc::bad_value);
  EXPECT_EQ(error_with(layout::kReserved0.at, 1), Errc::reserved_set);
  EXPECT_EQ(error_with(layout::kReserved1.at + 15, 1), Errc::reserved_set);
  EXPECT_EQ(error_with(layout::kProfileDigest.at, 1), Errc::bad_value);
  EXPECT_EQ(error_with(layout::kLayers.at, 0), Errc::bad_value);
  EXPECT_EQ(error_with(layout::kLayersPerSection.at, 0), Errc::bad_value);
  EXPECT_EQ(error_with(layout::kTokens.at, 65), Errc::bad_value);
}

TEST(PageHeader, NamesWhatItRefusesInAnEntry) {
  size_t plane = kPageFixedBytes;
  EXPECT_EQ(error_with(plane + layout::kPlaneRole.at, 9), Errc::bad_value);
  EXPECT_EQ(error_with(plane + layout::kPlaneDtype.at, 0), Errc::bad_value);
  EXPECT_EQ(error_with(plane + layout::kPlaneStored.at, 3), Errc::bad_value);
  EXPECT_EQ(error_with(plane + layout::kPlaneReserved0.at, 1), Errc::reserved_set);
  EXPECT_EQ(error_with(plane + layout::kPlaneReserved1.at, 1), Errc::reserved_set);
  EXPECT_EQ(error_with(plane + layout::kPlaneHeads.at, 0), Errc::bad_value);
  EXPECT_EQ(error_with(plane + layout::kPlaneDim.at + 3, 255), Errc::too_large);
  EXPECT_EQ(error_with(plane + layout::kPlaneRotated.at, 65), Errc::bad_value);
  size_t row = plane + 2 * kPlaneEntryBytes;
  EXPECT_EQ(error_with(row + layout::kRowLevel.at, 1), Errc::bad_value);
  EXPECT_EQ(error_with(row + layout::kRowReserved.at + 2, 1), Errc::reserved_set);
  EXPECT_EQ(error_with(row + layout::kRowKl.at, 1), Errc::bad_value);
  size_t section = row + kRowEntryBytes;
  EXPECT_EQ(error_with(section + layout::kSectionFlags.at, 2), Errc::reserved_set);
  EXPECT_EQ(error_with(section + layout::kSectionFlags.at, 1), Errc::bad_value);  // not source size
  EXPECT_EQ(error_with(section + layout::kSectionBytes.at + 3, 1), Errc::bad_value);  // not smaller
}

TEST(PageHeader, SaysWhereWhatItRefusesStands) {
  const size_t second_plane = kPageFixedBytes + kPlaneEntryBytes;
  const size_t second_section =
      second_plane + kPlaneEntryBytes + kRowEntryBytes + kSectionEntryBytes;
  const uint64_t its_offset = sample_header().section_offset(1);
  const std::string in_table = fmt::format("section 1 at offset {}", its_offset);
  for (const auto& [at, value, place] : std::vector<std::tuple<size_t, uint8_t, std::string>>{
           {second_plane + layout::kPlaneRole.at, 9, "offset 144"},
           {second_plane + layout::kPlaneDtype.at, 9, "offset 144"},
           {second_plane + layout::kPlaneStored.at, 9, "offset 144"},
           {second_section + layout::kSectionFlags.at, 2, in_table},
           {second_section + layout::kSectionFlags.at, 1, in_table}}) {
    Bytes bytes = serialised(sample_header());
    bytes[at] = value;
    restamp(bytes);
    const std::string text = parse_page_header(bytes).error().text;
    EXPECT_NE(text.find(place), std::string::npos) << text;
  }
}

TEST(PageHeader, IsNotWrittenWithValuesThatCannotBeRead) {
  EXPECT_EQ(error_of([](PageHeader& h) { h.encoding = Encoding::archive; }), Errc::unsupported);
  EXPECT_EQ(error_of([](PageHeader& h) { h.rows.push_back({}); }), Errc::bad_value);
  EXPECT_EQ(error_of([](PageHeader& h) { h.stored.pop_back(); }), Errc::bad_value);
  EXPECT_EQ(error_of([](PageHeader& h) { h.sections.pop_back(); }), Errc::bad_value);
  EXPECT_EQ(error_of([](PageHeader& h) { h.layers_per_section = 2; }), Errc::bad_value);
  EXPECT_EQ(error_of([](PageHeader& h) { h.geometry.planes[0].heads = 65536; }), Errc::too_large);
  EXPECT_EQ(error_of([](PageHeader& h) { h.sections[3].flags = 4; }), Errc::reserved_set);
}

TEST(PageHeader, OfAProgressivePageHasAProfileAndALossyRow) {
  auto progressive = [](PageHeader& h) {
    h.encoding = Encoding::progressive;
    h.profile_digest[5] = 1;
    h.rows = {{Level::q1, 1}};
  };
  EXPECT_EQ(error_of(progressive), Errc::ok);
  auto error_with_change = [&](const std::function<void(PageHeader&)>& change) {
    return error_of([&](PageHeader& h) {
      progressive(h);
      change(h);
    });
  };
  EXPECT_EQ(error_with_change([](PageHeader& h) { h.profile_digest = {}; }), Errc::bad_value);
  EXPECT_EQ(error_with_change([](PageHeader& h) { h.rows[0].kl = 0; }), Errc::bad_value);
  EXPECT_EQ(error_with_change([](PageHeader& h) { h.rows[0].level = Level{4}; }), Errc::bad_value);
  EXPECT_EQ(error_with_change([](PageHeader& h) { h.rows[0] = Row{}; }), Errc::bad_value);
  EXPECT_EQ(error_with_change([](PageHeader& h) { h.rows.clear(); }), Errc::bad_value);
  // An f32 plane is coded as it is, never as a narrower dtype.
  EXPECT_EQ(error_with_change(
                [](PageHeader& h) { h.geometry.planes[0].dtype = h.stored[0] = DType::f32; }),
            Errc::ok);
  EXPECT_EQ(error_with_change([](PageHeader& h) { h.geometry.planes[0].dtype = DType::f32; }),
            Errc::bad_value);
}

TEST(PageHeader, OfAProgressivePageHasRowsThatFollowEachOther) {
  const auto error_of_rows = [](const std::vector<Row>& rows) {
    return error_of([&](PageHeader& h) {
      h.encoding = Encoding::progressive;
      h.profile_digest[5] = 1;
      const std::vector<Section> sections = h.sections;
      for (size_t row = 1; row < rows.size(); ++row) {
        h.sections.insert(h.sections.end(), sections.begin(), sections.end());
      }
      h.rows = rows;
    });
  };
  const Row q3{Level::q3, 9}, q2{Level::q2, 8}, q1{Level::q1, 7}, exact{};
  for (const std::vector<Row>& good : std::vector<std::vector<Row>>{
           {q3}, {q2}, {q3, q2}, {q3, exact}, {q2, q1}, {q3, q2, q1}, {q3, q2, q1, exact}}) {
    EXPECT_EQ(error_of_rows(good), Errc::ok);
  }
  for (const std::vector<Row>& bad : std::vector<std::vector<Row>>{{q3, q1},
                                                                   {q1, q2},
                                                                   {q3, q3},
                                                                   {exact},
                                                                   {exact, exact},
                                                                   {q3, exact, exact},
                                                                   {q3, {Level::q2, 10}},
                                                                   {q3, {Level::q2, 0}},
                                                                   {q3, {Level::exact, 1}},
                                                                   {q3, q2, q1, exact, exact}}) {
    EXPECT_EQ(error_of_rows(bad), Errc::bad_value);
  }
}

TEST(PageHeader, OnlyTheFirstRowMayBeStoredRaw) {
  PageHeader header = sample_header();
  header.encoding = Encoding::progressive;
  header.profile_digest[5] = 1;
  header.rows = {{Level::q2, 8}, {Level::q1, 7}};
  header.sections.insert(header.sections.end(), header.sections.begin(), header.sections.end());
  const auto source_bytes = static_cast<uint32_t>(3 * header.geometry.plane_bytes(0));
  header.sections[0] = {.bytes = source_bytes, .flags = kSectionStoredRaw};
  header.sections[8] = {};
  EXPECT_TRUE(serialise_page_header(header).has_value());
  std::swap(header.sections[0], header.sections[8]);
  EXPECT_EQ(serialise_page_header(header).error().code, Errc::bad_value);
}

TEST(PageHeader, RefusesAPageAboveTheLimit) {
  PageHeader header = sample_header();
  header.encoding = Encoding::raw;
  header.geometry = kv_geometry(DType::f32, 1, 4096, 64, 128);
  header.stored = {DType::f32, DType::f32};
  header.layers_per_section = 1;
  auto bytes = static_cast<uint32_t>(header.geometry.plane_bytes(0));
  header.sections = {{.bytes = bytes, .flags = 1}, {.bytes = bytes, .flags = 1}};
  EXPECT_EQ(header.geometry.bytes(), kPageBytesMax);  // so the header is too much
  EXPECT_EQ(serialise_page_header(header).error().code, Errc::too_large);
}

TEST(PageHeader, EncodingIdChangesWithAnyByte) {
  Bytes bytes = serialised(sample_header());
  EncodingId id = encoding_id(bytes);
  EXPECT_EQ(encoding_id(bytes), id);
  bytes[30] ^= 1;
  EXPECT_NE(encoding_id(bytes), id);
}

TEST(Sections, HoldAtLeast32768ElementsOfTheWidestPlane) {
  EXPECT_EQ(layers_per_section(kv_geometry(DType::f16, 30, 64, 3, 64)), 3u);
  EXPECT_EQ(layers_per_section(kv_geometry(DType::f16, 24, 64, 2, 64)), 4u);
  EXPECT_EQ(layers_per_section(kv_geometry(DType::f16, 32, 64, 8, 128)), 1u);
  EXPECT_EQ(layers_per_section(kv_geometry(DType::f16, 2, 32, 1, 8)), 2u);  // all there are
  PageGeometry mixed = kv_geometry(DType::f16, 24, 64, 2, 64);
  mixed.planes[0].dim = 8;
  EXPECT_EQ(layers_per_section(mixed), 4u);
}

TEST(Sections, ARangeOfLayersIsRoundedOutToWholeSections) {
  PageHeader header = sample_header();
  Result<SectionRange> range = select_sections(header, 0, 4, 3);  // groups 3..5 and 6..8
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->first, 2u);
  EXPECT_EQ(range->count, 4u);
  EXPECT_EQ(range->offset, header.header_bytes() + 1000 + 1001);
  EXPECT_EQ(range->bytes, 1002u + 1003 + 1004 + 1005);
  EXPECT_EQ(range->first_layer, 3u);
  EXPECT_EQ(range->layers, 6u);

  Result<SectionRange> last = select_sections(header, 0, 9, 1);
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->layers, 1u);
  EXPECT_EQ(last->offset + last->bytes, header.page_bytes());
}

TEST(Sections, ARangeOutsideThePageIsAnInvalidArgument) {
  PageHeader header = sample_header();
  for (auto [row, first, layers] :
       {std::array<uint32_t, 3>{0, 0, 0}, {0, 10, 1}, {0, 9, 2}, {1, 0, 1}, {0, 1, 0xffffffff}}) {
    Result<SectionRange> range = select_sections(header, row, first, layers);
    ASSERT_TRUE(range.has_error());
    EXPECT_EQ(range.error().code, Errc::invalid_argument);
  }
}

TEST(Sections, VerificationRefusesARangeThatIsNone) {
  Bytes page = encoded({.geometry = kv_geometry(DType::f16, 10, 64, 3, 64)},
                       sample_tensors(kv_geometry(DType::f16, 10, 64, 3, 64), Sample::gaussian, 1));
  PageHeader header = parse_page_header(page).value();
  SectionRange range = select_sections(header, 0, 0, 3).value();
  ByteSpan sections = ByteSpan(page).subspan(range.offset);
  EXPECT_TRUE(verify_sections(header, range, sections).has_value());
  range.count += 1;
  EXPECT_EQ(verify_sections(header, range, sections).error().code, Errc::invalid_argument);
  range.first = size_t{1} << 60;
  EXPECT_EQ(verify_sections(header, range, sections).error().code, Errc::invalid_argument);
}

TEST(Names, AreThoseOfTheFormat) {
  EXPECT_EQ(encoding_name(Encoding::raw), "raw");
  EXPECT_EQ(encoding_name(Encoding::direct), "direct");
  EXPECT_EQ(encoding_name(Encoding::progressive), "progressive");
  EXPECT_EQ(encoding_name(Encoding::archive), "archive");
  EXPECT_EQ(encoding_name(static_cast<Encoding>(9)), "unknown");
  EXPECT_EQ(level_name(Level::exact), "exact");
  EXPECT_EQ(level_name(Level::q1), "q1");
  EXPECT_EQ(level_name(Level::q2), "q2");
  EXPECT_EQ(level_name(Level::q3), "q3");
  EXPECT_EQ(level_name(static_cast<Level>(9)), "unknown");
}

}  // namespace
}  // namespace sluice::codec
