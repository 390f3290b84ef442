// Pages cut, flipped and forged: an error that names the place, or the right tensors; never others.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>

#include "codec/codec.h"
#include "codec/direct_rom.h"
#include "codec/page_layout.h"
#include "tests/codec/restamp.h"
#include "tests/codec/sample_kv.h"

namespace sluice::codec {
namespace {

// 2 layers a section at 32 tokens: small enough to break at every byte.
struct SmallPage {
  PageGeometry geometry = kv_geometry(DType::bf16, 2, 32, 1, 12);
  Bytes tensors = sample_tensors(geometry, Sample::gaussian, 3);
  Bytes page = encoded({.geometry = geometry}, tensors);
  size_t header_bytes = parse_page_header(page).value().header_bytes();
};

// Parses and decodes as a client does.
Status decode(ByteSpan page, Bytes& out) {
  SLUICE_TRY(PageHeader header, parse_page_header(page));
  out.assign(header.geometry.bytes(), 0);
  Workspace workspace;
  return decode_page(header, page, out, workspace);
}

Errc decode_error(ByteSpan page) {
  Bytes out;
  Status status = decode(page, out);
  return status.has_error() ? status.error().code : Errc::ok;
}

// The text of the error of a page forged by `change` of its first section's bytes.
template <class Change>
std::string text_of_forged(Change change) {
  SmallPage small;
  change(small.page.data() + small.header_bytes);
  restamp(small.page);
  Bytes out;
  Status status = decode(small.page, out);
  EXPECT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::damaged);
  return status.error().text;
}

TEST(DamagedPage, IsCodedAtAll) {
  SmallPage small;
  PageHeader header = parse_page_header(small.page).value();
  EXPECT_EQ(header.sections[0].flags, 0u);
  EXPECT_EQ(header.sections[1].flags, 0u);
}

TEST(DamagedPage, CutAnywhereIsTruncated) {
  SmallPage small;
  for (size_t size = 0; size < small.page.size(); ++size) {
    ByteSpan cut = ByteSpan(small.page).first(size);
    EXPECT_EQ(verify_page(cut).error().code, Errc::truncated) << size;
    EXPECT_EQ(decode_error(cut), Errc::truncated) << size;
  }
}

TEST(DamagedPage, BytesBehindTheEndAreRefusedByVerification) {
  SmallPage small;
  small.page.push_back(0);
  EXPECT_EQ(verify_page(small.page).error().code, Errc::bad_value);
}

TEST(DamagedPage, EveryFlippedByteIsNoticed) {
  SmallPage small;
  for (size_t at = 0; at < small.page.size(); ++at) {
    for (uint8_t flip : std::array<uint8_t, 3>{0x01, 0x80, 0xff}) {
      small.page[at] ^= flip;
      EXPECT_NE(decode_error(small.page), Errc::ok) << at;
      EXPECT_TRUE(verify_page(small.page).has_error()) << at;
      small.page[at] ^= flip;
    }
  }
}

TEST(DamagedPage, AChecksumErrorNamesSectionAndOffset) {
  SmallPage small;
  PageHeader header = parse_page_header(small.page).value();
  size_t at = header.section_offset(1);
  small.page[at] ^= 1;
  Result<PageHeader> verified = verify_page(small.page);
  ASSERT_TRUE(verified.has_error());
  EXPECT_EQ(verified.error().code, Errc::bad_checksum);
  EXPECT_NE(verified.error().text.find("section 1 at offset " + std::to_string(at)),
            std::string::npos)
      << verified.error().text;
}

// With right checksums a page of other content is another page: it may decode, but must not crash.
TEST(ForgedPage, WithEveryByteReplacedGivesTensorsOrAnError) {
  SmallPage small;
  size_t refused = 0;
  for (size_t at = 0; at < small.page.size(); ++at) {
    for (uint8_t flip : std::array<uint8_t, 4>{0x01, 0x10, 0x80, 0xff}) {
      Bytes forged = small.page;
      forged[at] ^= flip;
      restamp(forged);
      refused += decode_error(forged) != Errc::ok;
    }
  }
  EXPECT_GT(refused, small.page.size());
}

TEST(ForgedPage, WithManyBytesReplacedGivesTensorsOrAnError) {
  SmallPage small;
  Prng prng(1);
  for (int round = 0; round < 3000; ++round) {
    Bytes forged = small.page;
    for (uint64_t i = prng.below(40); i > 0; --i) {
      forged[small.header_bytes + prng.below(forged.size() - small.header_bytes)] =
          static_cast<uint8_t>(prng.next());
    }
    restamp(forged);
    Errc error = decode_error(forged);
    EXPECT_TRUE(error == Errc::ok || error == Errc::damaged);
  }
}

TEST(ForgedPage, OfNoiseIsDamaged) {
  SmallPage small;
  Prng prng(2);
  for (int round = 0; round < 300; ++round) {
    for (size_t at = small.header_bytes; at < small.page.size(); ++at) {
      small.page[at] = static_cast<uint8_t>(prng.next());
    }
    restamp(small.page);
    EXPECT_EQ(decode_error(small.page), Errc::damaged);
  }
}

// A page whose first section says another length; its bytes are padded or cut to fit.
Errc error_with_section_bytes(uint32_t bytes) {
  SmallPage small;
  PageHeader header = parse_page_header(small.page).value();
  uint32_t before = header.sections[0].bytes;
  auto first = small.page.begin() + static_cast<ptrdiff_t>(small.header_bytes);
  if (bytes < before) {
    small.page.erase(first, first + (before - bytes));
  } else {
    small.page.insert(first + before, bytes - before, 0);
  }
  header.sections[0].bytes = bytes;
  Bytes header_bytes = serialise_page_header(header).value();
  std::copy(header_bytes.begin(), header_bytes.end(), small.page.begin());
  restamp(small.page);
  return decode_error(small.page);
}

TEST(ForgedPage, WithASectionOfAnyLengthIsDamaged) {
  SmallPage small;
  PageHeader header = parse_page_header(small.page).value();
  auto source_bytes = static_cast<uint32_t>(small.geometry.plane_bytes(0) * 2);
  for (uint32_t bytes = 0; bytes < source_bytes; ++bytes) {
    if (bytes != header.sections[0].bytes) {
      EXPECT_EQ(error_with_section_bytes(bytes), Errc::damaged) << bytes;
    }
  }
}

TEST(ForgedPage, NamesWhatIsImpossible) {
  // The section: 2 references, 24 tags, 32 states, words, raw bits.
  constexpr size_t kTags = 4;
  constexpr size_t kStates = kTags + 24;
  std::string unknown_tag = text_of_forged([](uint8_t* s) { s[kTags] = kDirectCodedTags; });
  EXPECT_NE(unknown_tag.find("section 0 at offset"), std::string::npos) << unknown_tag;
  EXPECT_NE(unknown_tag.find("unknown tag"), std::string::npos) << unknown_tag;
  EXPECT_NE(
      text_of_forged([](uint8_t* s) { std::fill_n(s + kTags, 24, kDirectTagRaw); }).find("length"),
      std::string::npos);
  EXPECT_NE(text_of_forged([](uint8_t* s) { s[kStates + 2] = s[kStates + 3] = 0; }).find("2^16"),
            std::string::npos);
  EXPECT_NE(text_of_forged([](uint8_t* s) { s[kStates + 3] ^= 0x40; }).find("words"),
            std::string::npos);
}

// All channels constant: the seed holds 48 bytes of raw bits and 16 bytes of nothing.
TEST(ForgedPage, WithBitsThatBelongToNothingIsDamaged) {
  PageGeometry geometry = kv_geometry(DType::bf16, 2, 32, 1, 12);
  Bytes page =
      encoded({.geometry = geometry}, sample_tensors(geometry, Sample::constant_channels, 1));
  size_t states = parse_page_header(page).value().header_bytes() + 4 + 24;
  EXPECT_EQ(decode_error(page), Errc::ok);
  page[states + 4 * 31] ^= 1;
  restamp(page);
  EXPECT_EQ(decode_error(page), Errc::damaged);
}

}  // namespace
}  // namespace sluice::codec
