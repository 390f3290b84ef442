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
#include "tests/codec/small_page.h"

namespace sluice::codec {
namespace {

using SmallPage = SmallDirectPage;

// What every encoding promises of damaged bytes.
template <class Small>
class DamagedPage : public testing::Test {
 protected:
  Errc error(ByteSpan page) const { return decode_error(page, small_.its_profile()); }

  Small small_;
};

using EveryEncoding = testing::Types<SmallDirectPage, SmallProgressivePage, SmallRowsPage>;
TYPED_TEST_SUITE(DamagedPage, EveryEncoding);

// The text of the error of a page forged by `change` of its first section's bytes.
template <class Change>
std::string text_of_forged(Change change) {
  SmallPage small;
  change(small.page.data() + small.header_bytes);
  restamp(small.page);
  Status status = decode(small.page, nullptr);
  EXPECT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::damaged);
  return status.error().text;
}

TYPED_TEST(DamagedPage, IsCodedAtAll) {
  PageHeader header = parse_page_header(this->small_.page).value();
  EXPECT_EQ(header.sections.size(), 2 * header.rows.size());
  for (const Section& section : header.sections) {
    EXPECT_EQ(section.flags, 0u);
  }
  EXPECT_EQ(this->error(this->small_.page), Errc::ok);
}

// It decodes as soon as its first row is there.
TYPED_TEST(DamagedPage, CutAnywhereIsTruncated) {
  const Bytes& page = this->small_.page;
  const size_t first_row = parse_page_header(page)->section_offset(2);
  for (size_t size = 0; size < page.size(); ++size) {
    ByteSpan cut = ByteSpan(page).first(size);
    EXPECT_EQ(verify_page(cut).error().code, Errc::truncated) << size;
    EXPECT_EQ(this->error(cut), size < first_row ? Errc::truncated : Errc::ok) << size;
  }
}

TYPED_TEST(DamagedPage, BytesBehindTheEndAreRefusedByVerification) {
  this->small_.page.push_back(0);
  EXPECT_EQ(verify_page(this->small_.page).error().code, Errc::bad_value);
}

TYPED_TEST(DamagedPage, EveryFlippedBitIsNoticed) {
  Bytes& page = this->small_.page;
  for (size_t bit = 0; bit < 8 * page.size(); ++bit) {
    auto flip = static_cast<uint8_t>(1 << bit % 8);
    page[bit / 8] ^= flip;
    EXPECT_NE(this->error(page), Errc::ok) << "bit " << bit;
    EXPECT_TRUE(verify_page(page).has_error()) << "bit " << bit;
    page[bit / 8] ^= flip;
  }
}

TYPED_TEST(DamagedPage, AChecksumErrorNamesSectionAndOffset) {
  Bytes& page = this->small_.page;
  PageHeader header = parse_page_header(page).value();
  size_t at = header.section_offset(1);
  page[at] ^= 1;
  Result<PageHeader> verified = verify_page(page);
  ASSERT_TRUE(verified.has_error());
  EXPECT_EQ(verified.error().code, Errc::bad_checksum);
  EXPECT_NE(verified.error().text.find("section 1 at offset " + std::to_string(at)),
            std::string::npos)
      << verified.error().text;
}

// With right checksums a page of other content is another page: it may decode, but must not crash.
TYPED_TEST(DamagedPage, WithEveryByteForgedGivesTensorsOrAnError) {
  const Bytes& page = this->small_.page;
  size_t refused = 0;
  for (size_t at = 0; at < page.size(); ++at) {
    for (uint8_t flip : std::array<uint8_t, 4>{0x01, 0x10, 0x80, 0xff}) {
      Bytes forged = page;
      forged[at] ^= flip;
      restamp(forged);
      refused += this->error(forged) != Errc::ok;
    }
  }
  EXPECT_GT(refused, page.size());
}

TYPED_TEST(DamagedPage, WithManyBytesForgedGivesTensorsOrAnError) {
  size_t first = this->small_.header_bytes;
  Prng prng(1);
  for (int round = 0; round < 3000; ++round) {
    Bytes forged = this->small_.page;
    for (uint64_t i = prng.below(40); i > 0; --i) {
      forged[first + prng.below(forged.size() - first)] = static_cast<uint8_t>(prng.next());
    }
    restamp(forged);
    Errc error = this->error(forged);
    EXPECT_TRUE(error == Errc::ok || error == Errc::damaged);
  }
}

TYPED_TEST(DamagedPage, OfForgedNoiseIsDamaged) {
  Bytes& page = this->small_.page;
  Prng prng(2);
  for (int round = 0; round < 300; ++round) {
    for (size_t at = this->small_.header_bytes; at < page.size(); ++at) {
      page[at] = static_cast<uint8_t>(prng.next());
    }
    restamp(page);
    EXPECT_EQ(this->error(page), Errc::damaged);
  }
}

// A section says another length; its bytes are padded or cut to fit.
TYPED_TEST(DamagedPage, WithASectionOfAnyLengthIsDamaged) {
  const Bytes& page = this->small_.page;
  const PageHeader good = parse_page_header(page).value();
  const auto source_bytes =
      static_cast<uint32_t>(this->small_.geometry.plane_bytes(0) * this->small_.geometry.layers);
  for (size_t index = 0; index < good.sections.size(); ++index) {
    const uint32_t before = good.sections[index].bytes;
    const auto first = static_cast<ptrdiff_t>(good.section_offset(index));
    for (uint32_t bytes = 0; bytes < source_bytes; ++bytes) {
      Bytes forged = page;
      if (bytes < before) {
        forged.erase(forged.begin() + first, forged.begin() + first + (before - bytes));
      } else {
        forged.insert(forged.begin() + first + before, bytes - before, 0);
      }
      PageHeader header = good;
      header.sections[index].bytes = bytes;
      Bytes header_bytes = serialise_page_header(header).value();
      std::copy(header_bytes.begin(), header_bytes.end(), forged.begin());
      restamp(forged);
      EXPECT_EQ(this->error(forged), bytes == before ? Errc::ok : Errc::damaged)
          << "section " << index << " of " << bytes;
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
  EXPECT_EQ(decode_error(page, nullptr), Errc::ok);
  page[states + 4 * 31] ^= 1;
  restamp(page);
  EXPECT_EQ(decode_error(page, nullptr), Errc::damaged);
}

}  // namespace
}  // namespace sluice::codec
