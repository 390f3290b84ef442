// Progressive pages forged: what is impossible is refused and named. What holds for every encoding
// is in damage_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>

#include "codec/codec.h"
#include "codec/lanes.h"
#include "codec/progressive.h"
#include "tests/codec/restamp.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"
#include "tests/codec/small_page.h"

namespace sluice::codec {
namespace {

using SmallPage = SmallProgressivePage;

// Of the first section: 2 corrections, 2 x 4 bytes of bits, the states.
constexpr size_t kBits = 2;
constexpr size_t kStates = kBits + 8;

// The text of the error of a page forged by `change` of its first section's bytes.
template <class Change>
std::string text_of_forged(Change change) {
  SmallPage small;
  change(small.page.data() + small.header_bytes);
  restamp(small.page);
  Status status = decode(small.page, &small.profile);
  EXPECT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::damaged);
  return status.error().text;
}

TEST(ForgedProgressivePage, HasExactTokensToForge) {
  SmallPage small;
  EXPECT_EQ(small.page[small.header_bytes + kBits], 3);
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

TEST(ForgedProgressiveSection, WithAValueThatIsNoneIsDamaged) {
  SmallPage small;
  ProgressiveShape shape{.layers = small.profile.layers,
                         .plane = 0,
                         .channels = 16,
                         .n_tokens = 32,
                         .vector_bytes = 32};
  Bytes zeros(shape.exact_bytes() + kSeedBytes, 0);
  ExactTokens none{.bits = ByteSpan(zeros).first(shape.exact_bytes()),
                   .vectors = ByteSpan(zeros).subspan(shape.exact_bytes(), 0)};
  for (int value : {-4096, -4095, 4095}) {
    std::vector<int16_t> quantised(shape.values(), 0);
    quantised[77] = static_cast<int16_t>(value);
    Workspace workspace;
    Bytes section(4096);
    section.resize(encode_values(shape, quantised, none, section, workspace));
    Result<ExactTokens> exact = decode_values(shape, section, {}, quantised, workspace);
    EXPECT_EQ(exact.has_error() ? exact.error().code : Errc::ok,
              value == -4096 ? Errc::damaged : Errc::ok);
  }
}

// No exact tokens: the states begin at 65536 and nothing else.
TEST(ForgedProgressivePage, WithBitsThatBelongToNothingIsDamaged) {
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
  Bytes page = encoded(spec, Bytes(spec.geometry.bytes(), 0));
  ASSERT_EQ(parse_page_header(page)->sections[0].flags, 0u);
  ASSERT_EQ(decode_error(page, &profile), Errc::ok);
  size_t states = parse_page_header(page).value().header_bytes() + 1 + 4;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    for (uint8_t flip : std::array<uint8_t, 4>{1, 2, 4, 8}) {
      Bytes forged = page;
      forged[states + 4 * lane] ^= flip;
      restamp(forged);
      EXPECT_EQ(decode_error(forged, &profile), Errc::damaged) << lane;
    }
  }
}

}  // namespace
}  // namespace sluice::codec
