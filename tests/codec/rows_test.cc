// Pages of several rows: each level nested in the next, and the source's bits at the end, whatever
// the basis.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "codec/codec.h"
#include "codec/profile_layout.h"
#include "src/base/prng.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

using profile_layout::BasisKind;

struct Subject {
  PageGeometry geometry;
  Profile profile;
  Bytes tensors;

  Subject(DType dtype, BasisKind kind, RopePairing pairing = RopePairing::neox)
      : geometry(kv_geometry(dtype, 5, 64, 3, 32)) {
    Profile made = sample_profile(geometry, pairing, 3);
    add_basis(made, kind, 5);
    profile = parsed(made, pairing);
    tensors = tensors_of(profile, geometry, 0, 9);
  }

  PageSpec spec(uint32_t lossy_rows, bool exact) const {
    return {.encoding = Encoding::progressive,
            .geometry = geometry,
            .profile = &profile,
            .lossy_rows = lossy_rows,
            .exact_row = exact};
  }

  Bytes page(uint32_t lossy_rows, bool exact) const {
    return encoded(spec(lossy_rows, exact), tensors);
  }

  // What the first rows of a page give.
  Bytes rows_of(const Bytes& page, size_t rows) const {
    PageHeader header = *parse_page_header(page);
    const uint64_t end = header.section_offset(header.section_index(rows, 0, 0));
    EXPECT_EQ(rows_within(header, end), rows);
    Bytes out(geometry.bytes());
    Workspace workspace;
    Status done = decode_page(header, ByteSpan(page).first(end), out, workspace, &profile);
    EXPECT_TRUE(done.has_value()) << done.error().to_string();
    return out;
  }
};

class Rows : public testing::TestWithParam<BasisKind> {};

TEST_P(Rows, EachComesNearerByAThird) {
  Subject subject(DType::bf16, GetParam());
  const Bytes page = subject.page(0, false);
  double before = 0;
  for (size_t rows = 1; rows <= 3; ++rows) {
    const Bytes out = subject.rows_of(page, rows);
    const double now =
        distance(subject.profile, subject.geometry, 0, subject.tensors, out).mean_square;
    if (rows > 1) {
      EXPECT_LT(now, before / 5) << rows;
    }
    before = now;
  }
  EXPECT_LT(before, 0.2) << "of a step of q1, squared: a uniform quantiser has 1/12";
}

TEST_P(Rows, ThoseThatAreThereGiveWhatAPageOfThemGives) {
  Subject subject(DType::f16, GetParam());
  const Bytes page = subject.page(0, true);
  for (uint32_t rows = 1; rows <= 3; ++rows) {
    EXPECT_EQ(subject.rows_of(page, rows), decoded(subject.page(rows, false), &subject.profile));
  }
}

TEST_P(Rows, TheLastOneGivesTheSourceBitForBit) {
  for (DType dtype : {DType::bf16, DType::f16}) {
    Subject subject(dtype, GetParam());
    for (uint32_t lossy_rows : {1u, 2u, 3u}) {
      EXPECT_EQ(decoded(subject.page(lossy_rows, true), &subject.profile), subject.tensors);
    }
  }
}

TEST_P(Rows, AnyBitsComeBack) {
  for (DType dtype : {DType::bf16, DType::f16}) {
    Subject subject(dtype, GetParam());
    Prng prng(11);
    for (size_t i = 0; i < subject.tensors.size(); i += 2) {
      if (prng.below(40) == 0) {
        store_le(subject.tensors.data() + i, static_cast<uint16_t>(prng.next()));
      }
    }
    EXPECT_EQ(decoded(subject.page(0, true), &subject.profile), subject.tensors);
  }
}

TEST_P(Rows, LayersDecodeByThemselves) {
  Subject subject(DType::bf16, GetParam());
  const Bytes page = subject.page(0, true);
  const PageHeader header = *parse_page_header(page);
  Workspace workspace;
  for (size_t rows = 1; rows <= 4; ++rows) {
    const Bytes all = subject.rows_of(page, rows);
    for (uint32_t layer = 0; layer < subject.geometry.layers; ++layer) {
      Bytes bytes;
      SectionRange range;
      for (size_t row = 0; row < rows; ++row) {
        range = *select_sections(header, row, layer, 1);
        auto first = page.begin() + static_cast<ptrdiff_t>(range.offset);
        bytes.insert(bytes.end(), first, first + static_cast<ptrdiff_t>(range.bytes));
      }
      Bytes out(range.layers * subject.geometry.layer_bytes());
      Status done = decode_layers(header, rows, layer, 1, bytes, out, workspace, &subject.profile);
      ASSERT_TRUE(done.has_value()) << done.error().to_string();
      EXPECT_TRUE(std::equal(
          out.begin(), out.end(), &all[subject.geometry.offset_bytes(range.first_layer, 0)]));
    }
  }
}

TEST_P(Rows, AProfileServesBothOrdersOfChannels) {
  Subject neox(DType::bf16, GetParam());
  const Profile other = parsed(neox.profile, RopePairing::interleaved);
  EXPECT_EQ(parsed(other, RopePairing::neox).layers, neox.profile.layers);
  EXPECT_NE(other.layers, neox.profile.layers);
}

// A page with every kind of section, small enough to break at every byte.
Bytes small_page(const Profile& profile, const PageGeometry& geometry) {
  return encoded({.encoding = Encoding::progressive,
                  .geometry = geometry,
                  .profile = &profile,
                  .exact_row = true},
                 tensors_of(profile, geometry, 0, 9));
}

TEST_P(Rows, EachDamagedByteIsNamedBySectionAndOffset) {
  const PageGeometry geometry = kv_geometry(DType::bf16, 2, 32, 2, 16);
  Profile made = sample_profile(geometry, RopePairing::neox, 3);
  add_basis(made, GetParam(), 5);
  const Profile profile = parsed(made, RopePairing::neox);
  Bytes page = small_page(profile, geometry);
  const PageHeader header = *parse_page_header(page);
  size_t section = 0;
  for (size_t at = header.header_bytes(); at < page.size(); ++at) {
    while (header.section_offset(section + 1) <= at) {
      ++section;
    }
    page[at] ^= static_cast<uint8_t>(1 << at % 8);
    Bytes out(geometry.bytes());
    Workspace workspace;
    Status status = decode_page(header, page, out, workspace, &profile);
    ASSERT_TRUE(status.has_error()) << at;
    EXPECT_NE(status.error().text.find(
                  fmt::format("section {} at offset {}", section, header.section_offset(section))),
              std::string::npos)
        << status.error().text;
    page[at] ^= static_cast<uint8_t>(1 << at % 8);
  }
}

// With checksums that fit, what no encoder writes is damaged, or KV of some other tokens; nothing
// worse.
TEST_P(Rows, ForgedBytesAreDamagedOrDecoded) {
  const PageGeometry geometry = kv_geometry(DType::bf16, 2, 32, 2, 16);
  Profile made = sample_profile(geometry, RopePairing::neox, 3);
  add_basis(made, GetParam(), 5);
  const Profile profile = parsed(made, RopePairing::neox);
  const Bytes page = small_page(profile, geometry);
  size_t damaged = 0;
  for (size_t at = parse_page_header(page)->header_bytes(); at < page.size(); at += 3) {
    Bytes forged = page;
    forged[at] ^= static_cast<uint8_t>(1 << at % 8);
    restamp(forged);
    Bytes out(geometry.bytes());
    Workspace workspace;
    const PageHeader header = *parse_page_header(forged);
    Status status = decode_page(header, forged, out, workspace, &profile);
    damaged += status.has_error();
    EXPECT_TRUE(status.has_value() || status.error().code == Errc::damaged);
  }
  EXPECT_GT(damaged, page.size() / 12);
}

INSTANTIATE_TEST_SUITE_P(Bases,
                         Rows,
                         testing::Values(profile_layout::kIdentity,
                                         profile_layout::kGivens,
                                         profile_layout::kMatrices));

TEST(LossyRows, AboveThoseOfTheProfileAreAnInvalidArgument) {
  Subject subject(DType::bf16, profile_layout::kIdentity);
  Bytes page(*encode_bound(subject.geometry, kRowsMax));
  Workspace workspace;
  const auto rows = static_cast<uint32_t>(subject.profile.rows.size());
  EXPECT_TRUE(encode_page(subject.spec(rows, false), subject.tensors, page, workspace).has_value());
  EXPECT_EQ(
      encode_page(subject.spec(rows + 1, false), subject.tensors, page, workspace).error().code,
      Errc::invalid_argument);
}

TEST(RowsOfF32, AreExactWhereItIsANarrowerFormatAndRefusedElse) {
  Subject subject(DType::f32, profile_layout::kGivens);
  Bytes page(*encode_bound(subject.geometry, kRowsMax));
  Workspace workspace;
  EXPECT_EQ(encode_page(subject.spec(0, true), subject.tensors, page, workspace).error().code,
            Errc::unsupported);
  for (size_t i = 0; i < subject.tensors.size(); i += 4) {
    subject.tensors[i] = subject.tensors[i + 1] = 0;  // bf16
  }
  EXPECT_EQ(decoded(subject.page(0, true), &subject.profile), subject.tensors);
}

}  // namespace
}  // namespace sluice::codec
