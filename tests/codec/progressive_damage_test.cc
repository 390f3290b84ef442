// Progressive pages cut, flipped and forged: an error that names the place, or tensors; never a
// crash.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>

#include "codec/codec.h"
#include "codec/lanes.h"
#include "tests/codec/restamp.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

// 2 layers a section at 32 tokens, some of them exact: small enough to break at every byte.
struct SmallPage {
  PageGeometry geometry = kv_geometry(DType::bf16, 2, 32, 1, 16);
  Profile profile = parsed(sample_profile(geometry, RopePairing::neox, 7), RopePairing::neox);
  Bytes tensors = tensors_of(profile, geometry, 2, 3);
  Bytes page = encoded({.encoding = Encoding::progressive,
                        .first_position = 2,
                        .geometry = geometry,
                        .profile = &profile},
                       tensors);
  size_t header_bytes = parse_page_header(page).value().header_bytes();
};

// Of the first section: 2 corrections, 2 x 4 bytes of bits, the states.
constexpr size_t kBits = 2;
constexpr size_t kStates = kBits + 8;

Status decode(const SmallPage& small, ByteSpan page) {
  SLUICE_TRY(PageHeader header, parse_page_header(page));
  Bytes out(header.geometry.bytes());
  Workspace workspace;
  return decode_page(header, page, out, workspace, &small.profile);
}

Errc decode_error(const SmallPage& small, ByteSpan page) {
  Status status = decode(small, page);
  return status.has_error() ? status.error().code : Errc::ok;
}

// The text of the error of a page forged by `change` of its first section's bytes.
template <class Change>
std::string text_of_forged(Change change) {
  SmallPage small;
  change(small.page.data() + small.header_bytes);
  restamp(small.page);
  Status status = decode(small, small.page);
  EXPECT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::damaged);
  return status.error().text;
}

TEST(DamagedProgressivePage, IsCodedAtAll) {
  SmallPage small;
  PageHeader header = parse_page_header(small.page).value();
  EXPECT_EQ(header.sections.size(), 2u);
  EXPECT_EQ(header.sections[0].flags, 0u);
  EXPECT_EQ(header.sections[1].flags, 0u);
  EXPECT_EQ(decode_error(small, small.page), Errc::ok);
  EXPECT_EQ(small.page[small.header_bytes + kBits], 3);  // tokens at positions 2 and 3 are exact
}

TEST(DamagedProgressivePage, CutAnywhereIsTruncated) {
  SmallPage small;
  for (size_t size = 0; size < small.page.size(); ++size) {
    EXPECT_EQ(decode_error(small, ByteSpan(small.page).first(size)), Errc::truncated) << size;
  }
}

TEST(DamagedProgressivePage, EveryFlippedBitIsNoticed) {
  SmallPage small;
  for (size_t bit = 0; bit < 8 * small.page.size(); ++bit) {
    auto flip = static_cast<uint8_t>(1 << bit % 8);
    small.page[bit / 8] ^= flip;
    EXPECT_NE(decode_error(small, small.page), Errc::ok) << "bit " << bit;
    small.page[bit / 8] ^= flip;
  }
}

TEST(ForgedProgressivePage, WithEveryByteReplacedGivesTensorsOrAnError) {
  SmallPage small;
  size_t refused = 0;
  for (size_t at = 0; at < small.page.size(); ++at) {
    for (uint8_t flip : std::array<uint8_t, 4>{0x01, 0x10, 0x80, 0xff}) {
      Bytes forged = small.page;
      forged[at] ^= flip;
      restamp(forged);
      refused += decode_error(small, forged) != Errc::ok;
    }
  }
  EXPECT_GT(refused, small.page.size());
}

TEST(ForgedProgressivePage, WithManyBytesReplacedGivesTensorsOrAnError) {
  SmallPage small;
  Prng prng(1);
  for (int round = 0; round < 3000; ++round) {
    Bytes forged = small.page;
    for (uint64_t i = prng.below(40); i > 0; --i) {
      forged[small.header_bytes + prng.below(forged.size() - small.header_bytes)] =
          static_cast<uint8_t>(prng.next());
    }
    restamp(forged);
    Errc error = decode_error(small, forged);
    EXPECT_TRUE(error == Errc::ok || error == Errc::damaged);
  }
}

TEST(ForgedProgressivePage, OfNoiseIsDamaged) {
  SmallPage small;
  Prng prng(2);
  for (int round = 0; round < 300; ++round) {
    for (size_t at = small.header_bytes; at < small.page.size(); ++at) {
      small.page[at] = static_cast<uint8_t>(prng.next());
    }
    restamp(small.page);
    EXPECT_EQ(decode_error(small, small.page), Errc::damaged);
  }
}

TEST(ForgedProgressivePage, WithASectionOfAnyLengthIsDamaged) {
  SmallPage small;
  PageHeader header = parse_page_header(small.page).value();
  uint32_t before = header.sections[0].bytes;
  auto source_bytes = static_cast<uint32_t>(small.geometry.plane_bytes(0) * 2);
  auto first = static_cast<ptrdiff_t>(small.header_bytes);
  for (uint32_t bytes = 0; bytes < source_bytes; ++bytes) {
    Bytes forged = small.page;
    if (bytes < before) {
      forged.erase(forged.begin() + first, forged.begin() + first + (before - bytes));
    } else {
      forged.insert(forged.begin() + first + before, bytes - before, 0);
    }
    header.sections[0].bytes = bytes;
    Bytes header_bytes = serialise_page_header(header).value();
    std::copy(header_bytes.begin(), header_bytes.end(), forged.begin());
    restamp(forged);
    EXPECT_EQ(decode_error(small, forged), bytes == before ? Errc::ok : Errc::damaged) << bytes;
  }
}

TEST(ForgedProgressivePage, NamesWhatIsImpossible) {
  std::string length = text_of_forged([](uint8_t* s) { std::fill_n(s + kBits, 8, 0xff); });
  EXPECT_NE(length.find("section 0 at offset"), std::string::npos) << length;
  EXPECT_NE(length.find("length"), std::string::npos) << length;
  std::string state = text_of_forged([](uint8_t* s) { s[kStates + 2] = s[kStates + 3] = 0; });
  EXPECT_NE(state.find("2^16"), std::string::npos) << state;
  std::string words = text_of_forged([](uint8_t* s) { s[kStates + 3] ^= 0x40; });
  EXPECT_NE(words.find("words"), std::string::npos) << words;
}

// No exact tokens: the states begin at 65536 and nothing else.
TEST(ForgedProgressivePage, WithBitsThatBelongToNothingIsDamaged) {
  SmallPage small;
  PageSpec spec{.encoding = Encoding::progressive,
                .first_position = 64,
                .geometry = kv_geometry(DType::bf16, 1, 32, 1, 16)};
  Profile profile = parsed(sample_profile(spec.geometry, RopePairing::neox, 7), RopePairing::neox);
  for (LayerModel& layer : profile.layers) {
    for (PlaneModel& plane : layer.planes) {
      for (ChannelModel& channel : plane.channels) {
        channel.mean = 0;
      }
    }
  }
  spec.profile = &profile;
  small.profile = profile;
  Bytes page = encoded(spec, Bytes(spec.geometry.bytes(), 0));
  ASSERT_EQ(parse_page_header(page)->sections[0].flags, 0u);
  ASSERT_EQ(decode_error(small, page), Errc::ok);
  size_t states = parse_page_header(page).value().header_bytes() + 1 + 4;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    for (uint8_t flip : std::array<uint8_t, 4>{1, 2, 4, 8}) {
      Bytes forged = page;
      forged[states + 4 * lane] ^= flip;
      restamp(forged);
      EXPECT_EQ(decode_error(small, forged), Errc::damaged) << lane;
    }
  }
}

}  // namespace
}  // namespace sluice::codec
