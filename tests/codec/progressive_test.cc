// Pages of the progressive encoding: how near they come back, what comes back exactly, how small
// they are, and whom they refuse.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "codec/codec.h"
#include "codec/elements.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

// A profile, and KV as it expects it.
struct Case {
  PageGeometry geometry;
  Profile profile;
  PageSpec spec;
  Bytes tensors;

  Case(DType dtype, uint64_t first_position, RopePairing pairing = RopePairing::neox)
      : Case(kv_geometry(dtype, 7, 64, 2, 24), first_position, pairing) {}

  Case(PageGeometry its_geometry, uint64_t first_position, RopePairing pairing)
      : geometry(std::move(its_geometry)),
        profile(parsed(sample_profile(geometry, pairing, 1), pairing)),
        spec{.encoding = Encoding::progressive,
             .first_position = first_position,
             .geometry = geometry,
             .profile = &profile},
        tensors(tensors_of(profile, geometry, first_position, 5)) {}

  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  Bytes page() const { return encoded(spec, tensors); }

  uint8_t* element(uint32_t layer, size_t plane, size_t token, size_t channel) {
    const Plane& its = geometry.planes[plane];
    return tensors.data() + geometry.offset_bytes(layer, plane) +
           (token * its.width() + channel) * dtype_bytes(its.dtype);
  }
};

Errc encode_error(const Case& test) {
  Workspace workspace;
  Bytes out(encode_bound(test.geometry).value());
  Result<size_t> bytes = encode_page(test.spec, test.tensors, out, workspace);
  return bytes.has_error() ? bytes.error().code : Errc::ok;
}

Status decode_status(ByteSpan page, const Profile* profile) {
  SLUICE_TRY(PageHeader header, parse_page_header(page));
  Bytes out(header.geometry.bytes());
  Workspace workspace;
  return decode_page(header, page, out, workspace, profile);
}

size_t raw_sections(ByteSpan page) {
  PageHeader header = parse_page_header(page).value();
  size_t count = 0;
  for (const Section& section : header.sections) {
    count += (section.flags & kSectionStoredRaw) != 0;
  }
  return count;
}

// The vector of one token of one layer of a plane.
ByteSpan vector_of(
    const PageGeometry& geometry, ByteSpan tensors, uint32_t layer, size_t plane, size_t token) {
  size_t bytes = geometry.planes[plane].width() * dtype_bytes(geometry.planes[plane].dtype);
  return tensors.subspan(geometry.offset_bytes(layer, plane) + token * bytes, bytes);
}

bool same_vector(const PageGeometry& geometry,
                 ByteSpan a,
                 ByteSpan b,
                 uint32_t layer,
                 size_t plane,
                 size_t token) {
  ByteSpan one = vector_of(geometry, a, layer, plane, token);
  ByteSpan other = vector_of(geometry, b, layer, plane, token);
  return std::equal(one.begin(), one.end(), other.begin());
}

// A value becomes q if it is from 0.42 below q to 0.58 above, and comes back up to 3/8 below q.
TEST(Progressive, ComesBackWithinAStepAtAnyPosition) {
  for (RopePairing pairing : {RopePairing::neox, RopePairing::interleaved}) {
    for (uint64_t first_position : {uint64_t{0}, uint64_t{64}, uint64_t{1} << 20}) {
      Case test(DType::f32, first_position, pairing);
      Bytes page = test.page();
      EXPECT_EQ(raw_sections(page), 0u);
      Bytes back = decoded(page, &test.profile);
      Distance far = distance(test.profile, test.geometry, first_position, test.tensors, back);
      EXPECT_LT(far.largest, 1.1);                  // 0.58 + 3/8, and what integers lose
      EXPECT_LT(std::sqrt(far.mean_square), 0.32);  // 0.289 for a plain uniform step
      EXPECT_GT(std::sqrt(far.mean_square), 0.15);
    }
  }
}

TEST(Progressive, OfSixteenBitsIsTheRoundedF32) {
  for (DType dtype : {DType::f16, DType::bf16}) {
    Case narrow(dtype, 0);
    Case wide(DType::f32, 0);
    for (size_t i = 0; i < narrow.geometry.elements(); ++i) {
      auto bits = load_le<uint16_t>(narrow.tensors.data() + 2 * i);
      store_le(wide.tensors.data() + 4 * i,
               dtype == DType::bf16 ? uint32_t{bits} << 16 : widen_f16(bits));
    }
    EXPECT_EQ(raw_sections(narrow.page()), 0u);
    Bytes from_narrow = decoded(narrow.page(), &narrow.profile);
    Bytes from_wide = decoded(wide.page(), &wide.profile);
    for (size_t i = 0; i < narrow.geometry.elements(); ++i) {
      auto element = std::bit_cast<float>(load_le<uint32_t>(from_wide.data() + 4 * i));
      ASSERT_EQ(load_le<uint16_t>(from_narrow.data() + 2 * i),
                to_bits(dtype, static_cast<double>(element)))
          << i;
    }
  }
}

TEST(Progressive, GivesTheSameBytesEachTime) {
  Case test(DType::bf16, 128);
  Workspace used;  // that another page has been through
  Case other(kv_geometry(DType::f32, 2, 32, 1, 8), 0, RopePairing::interleaved);
  Bytes out(encode_bound(test.geometry).value());
  ASSERT_TRUE(encode_page(other.spec, other.tensors, out, used).has_value());
  out.resize(encode_page(test.spec, test.tensors, out, used).value());
  EXPECT_EQ(out, test.page());
}

TEST(Progressive, PagesOfBothPairingsHoldTheSameValues) {
  Case neox(DType::f16, 64);
  Profile interleaved = parsed(neox.profile, RopePairing::interleaved);
  // The channel in the one order that is `channel` in the other.
  auto moved = [&](size_t channel) {
    size_t dim = channel % 24;
    return channel - dim + (dim % 2 == 0 ? dim / 2 : dim / 2 + 12);
  };
  auto permuted = [&](ByteSpan tensors) {
    Bytes out(tensors.begin(), tensors.end());
    for (uint32_t layer = 0; layer < neox.geometry.layers; ++layer) {
      size_t keys = neox.geometry.offset_bytes(layer, 0);
      for (size_t token = 0; token < 64; ++token) {
        for (size_t channel = 0; channel < 48; ++channel) {
          size_t row = keys + 2 * 48 * token;
          std::memcpy(out.data() + row + 2 * channel, tensors.data() + row + 2 * moved(channel), 2);
        }
      }
    }
    return out;
  };
  PageSpec spec = neox.spec;
  spec.profile = &interleaved;
  Bytes back = decoded(encoded(spec, permuted(neox.tensors)), &interleaved);
  EXPECT_EQ(back, permuted(decoded(neox.page(), &neox.profile)));
}

TEST(Progressive, FirstTokensOfAContextAreExact) {
  Case start(DType::f16, 0);
  Bytes back = decoded(start.page(), &start.profile);
  for (size_t token = 0; token < 64; ++token) {
    EXPECT_EQ(same_vector(start.geometry, start.tensors, back, 3, 1, token), token < 4) << token;
  }
  Case inside(DType::f16, 2);  // two of four sinks are here
  back = decoded(inside.page(), &inside.profile);
  EXPECT_TRUE(same_vector(inside.geometry, inside.tensors, back, 3, 1, 1));
  EXPECT_FALSE(same_vector(inside.geometry, inside.tensors, back, 3, 1, 2));
  Case later(DType::f16, 64);
  back = decoded(later.page(), &later.profile);
  EXPECT_FALSE(same_vector(later.geometry, later.tensors, back, 3, 1, 0));
  EXPECT_LT(later.page().size(), start.page().size());
}

// One element of another kind than the profile expects: its whole token vector comes back bit for
// bit, and no other.
TEST(Progressive, WhatIsFarFromItsMeanIsExact) {
  struct Odd {
    DType dtype;
    uint32_t bits;
  };

  for (Odd odd : {Odd{DType::f16, 0x7c00},
                  Odd{DType::f16, 0xfe01},
                  Odd{DType::f16, 0x7bff},
                  Odd{DType::bf16, 0xff80},
                  Odd{DType::bf16, 0x7fc1},
                  Odd{DType::bf16, 0xff7f},
                  Odd{DType::f32, 0x7f800000},
                  Odd{DType::f32, 0xffc00001},
                  Odd{DType::f32, 0x7f7fffff},
                  Odd{DType::f32, 0x47800000}}) {
    for (size_t plane : {0u, 1u}) {
      Case test(odd.dtype, 64);
      std::memcpy(test.element(2, plane, 40, 17), &odd.bits, dtype_bytes(odd.dtype));
      Bytes page = test.page();
      EXPECT_EQ(raw_sections(page), 0u);
      Bytes back = decoded(page, &test.profile);
      for (size_t token = 0; token < 64; ++token) {
        EXPECT_EQ(same_vector(test.geometry, test.tensors, back, 2, plane, token), token == 40)
            << std::hex << odd.bits << " token " << std::dec << token;
      }
      Distance far = distance(test.profile, test.geometry, 64, test.tensors, back);
      EXPECT_LT(far.largest, odd.dtype == DType::f32 ? 1.1 : 40);
    }
  }
}

// 2896 steps are coded as an escape; more have too much energy.
TEST(Progressive, TheRangeOfStepsEndsAt2896) {
  for (int steps : {-4096, -2897, -2896, 2896, 2897, 4096}) {
    Case test(DType::f32, 64);
    ChannelModel& channel = test.profile.layers[6].planes[1].channels[9];
    channel.mean = 0;
    int exponent = test.profile.layers[6].planes[1].exponent;
    double step = std::ldexp(channel.mantissa, 3 - channel.shift - exponent);
    auto far = static_cast<float>(steps * step);
    std::memcpy(test.element(6, 1, 5, 9), &far, 4);
    Bytes back = decoded(test.page(), &test.profile);
    bool coded = std::abs(steps) <= 2896;
    EXPECT_EQ(same_vector(test.geometry, test.tensors, back, 6, 1, 5), !coded) << steps;
    float out = 0;
    std::memcpy(&out, back.data() + (test.element(6, 1, 5, 9) - test.tensors.data()), 4);
    EXPECT_LE(std::abs(out - far), step) << steps;
  }
  Case test(DType::f32, 64);
  for (size_t i : {9u, 10u, 11u}) {
    ChannelModel& channel = test.profile.layers[6].planes[1].channels[i];
    int exponent = test.profile.layers[6].planes[1].exponent;
    auto far =
        static_cast<float>(std::ldexp(channel.mean, -exponent) +
                           4000 * std::ldexp(channel.mantissa, 3 - channel.shift - exponent));
    std::memcpy(test.element(6, 1, 5, i), &far, 4);
  }
  Bytes back = decoded(test.page(), &test.profile);
  EXPECT_TRUE(same_vector(test.geometry, test.tensors, back, 6, 1, 5));
}

TEST(Progressive, KvOfAnotherKindIsStoredAsItIs) {
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (Sample sample : kSamples) {
      Case test(dtype, 64);
      test.tensors = sample_tensors(test.geometry, sample, 3);
      Bytes page = test.page();
      EXPECT_LE(page.size(), encode_bound(test.geometry).value());
      Bytes back = decoded(page, &test.profile);
      if (sample == Sample::special_values || sample == Sample::uniform_bits) {
        EXPECT_EQ(raw_sections(page), parse_page_header(page)->sections.size()) << int(sample);
        EXPECT_EQ(back, test.tensors);
      }
    }
  }
}

TEST(Progressive, OtherRolesAndDtypesTravelAsTheyAre) {
  PageGeometry geometry{.planes = {{PlaneRole::latent, DType::bf16, 1, 64, 0},
                                   {PlaneRole::k, DType::bf16, 1, 32, 32},
                                   {PlaneRole::index, DType::bf16, 1, 16, 0},
                                   {PlaneRole::v, DType::f8_e4m3, 1, 16, 0},
                                   {PlaneRole::state, DType::u8, 3, 5, 0}},
                        .layers = 5,
                        .n_tokens = 32};
  Case test(geometry, 32, RopePairing::interleaved);
  Bytes page = test.page();
  Bytes back = decoded(page, &test.profile);
  PageHeader header = parse_page_header(page).value();
  for (size_t i = 0; i < header.sections.size(); ++i) {
    EXPECT_EQ(header.sections[i].flags, i % 5 < 2 ? 0 : kSectionStoredRaw) << i;
  }
  for (size_t plane = 2; plane < 5; ++plane) {
    EXPECT_TRUE(same_vector(geometry, test.tensors, back, 4, plane, 31));
  }
}

TEST(Progressive, ChannelsThatStayAtTheirMeanCostNextToNothing) {
  Case test(kv_geometry(DType::f16, 7, 64, 3, 64), 64, RopePairing::neox);
  for (LayerModel& layer : test.profile.layers) {
    layer.rotation = kNotRotated;
    for (PlaneModel& plane : layer.planes) {
      for (ChannelModel& channel : plane.channels) {
        channel.mean = 0;
        channel.scale = 3;
      }
    }
  }
  std::fill(test.tensors.begin(), test.tensors.end(), 0);
  Bytes page = test.page();
  EXPECT_LT(8.0 * static_cast<double>(page.size()) / static_cast<double>(test.geometry.elements()),
            0.06);
  EXPECT_EQ(decoded(page, &test.profile), test.tensors);
}

// Normal variables of a deviation of 0.86 steps have 1.79 bits of entropy after rounding; heads,
// states and checksums are 0.05.
TEST(Progressive, TakesAboutTheEntropyOfItsSymbols) {
  Case test(kv_geometry(DType::f16, 15, 64, 3, 64), 64, RopePairing::neox);
  for (LayerModel& layer : test.profile.layers) {
    for (PlaneModel& plane : layer.planes) {
      for (ChannelModel& channel : plane.channels) {
        channel.scale = 13;
      }
    }
  }
  test.tensors = tensors_of(test.profile, test.geometry, 64, 6);
  double elements = static_cast<double>(test.geometry.elements());
  double bits = 8.0 * static_cast<double>(test.page().size()) / elements;
  EXPECT_LT(bits, 1.86);
  EXPECT_GT(bits, 1.75);
  // A profile that is off by three scales costs little more: a correction makes up for it.
  for (LayerModel& layer : test.profile.layers) {
    for (PlaneModel& plane : layer.planes) {
      for (ChannelModel& channel : plane.channels) {
        channel.scale = 10;
      }
    }
  }
  double corrected = 8.0 * static_cast<double>(test.page().size()) / elements;
  EXPECT_LT(corrected, bits + 0.01);
}

TEST(Progressive, LayersDecodeByThemselves) {
  Case test(DType::f16, 64);
  Bytes page = test.page();
  Bytes all = decoded(page, &test.profile);
  PageHeader header = parse_page_header(page).value();
  ASSERT_GT(header.layer_groups(), 0u);
  Workspace workspace;
  for (uint32_t layer = 0; layer < test.geometry.layers; ++layer) {
    SectionRange range = select_sections(header, 0, layer, 1).value();
    ByteSpan sections = ByteSpan(page).subspan(range.offset, range.bytes);
    Bytes out(range.layers * test.geometry.layer_bytes());
    ASSERT_TRUE(
        decode_layers(header, 1, layer, 1, sections, out, workspace, &test.profile).has_value());
    EXPECT_TRUE(
        std::equal(out.begin(), out.end(), &all[test.geometry.offset_bytes(range.first_layer, 0)]));
  }
}

TEST(Progressive, TheHeaderSaysWhatTheProfileSays) {
  Case test(DType::f16, 64);
  PageHeader header = parse_page_header(test.page()).value();
  EXPECT_EQ(header.encoding, Encoding::progressive);
  EXPECT_EQ(header.profile_digest, test.profile.digest);
  EXPECT_EQ(header.rows, (std::vector<Row>{{Level::q1, 21000}}));
  EXPECT_EQ(header.stored, (std::vector<DType>{DType::f16, DType::f16}));
}

TEST(Progressive, IsNotWrittenWithoutAProfileThatFits) {
  Case test(DType::f16, 64);
  test.spec.profile = nullptr;
  EXPECT_EQ(encode_error(test), Errc::invalid_argument);
  for (PageGeometry geometry : {kv_geometry(DType::f16, 6, 64, 2, 24),
                                kv_geometry(DType::f16, 7, 64, 1, 24),
                                kv_geometry(DType::f16, 7, 64, 2, 32)}) {
    Case other(geometry, 64, RopePairing::neox);
    other.spec.profile = &test.profile;
    EXPECT_EQ(encode_error(other), Errc::layout_mismatch);
  }
}

TEST(Progressive, IsReadOnlyWithItsOwnProfile) {
  Case test(DType::f16, 64);
  Bytes page = test.page();
  Profile other = test.profile;
  other.digest[0] ^= 1;
  for (const Profile* wrong :
       {static_cast<const Profile*>(nullptr), const_cast<const Profile*>(&other)}) {
    Status status = decode_status(page, wrong);
    ASSERT_TRUE(status.has_error());
    EXPECT_EQ(status.error().code, Errc::identity_mismatch);
    const std::string& text = status.error().text;
    EXPECT_NE(text.find(to_hex(test.profile.digest)), std::string::npos) << text;
    EXPECT_NE(text.find(wrong == nullptr ? "none" : to_hex(other.digest)), std::string::npos);
  }
  EXPECT_TRUE(decode_status(page, &test.profile).has_value());
}

TEST(Progressive, OfOneProfileAndAnotherShapeOrKlIsRefused) {
  Case test(DType::f16, 64);
  Bytes page = test.page();
  Profile other = test.profile;
  other.rows[0].kl = 1;
  EXPECT_EQ(decode_status(page, &other).error().code, Errc::bad_value);
  other = test.profile;
  other.layers.pop_back();
  EXPECT_EQ(decode_status(page, &other).error().code, Errc::layout_mismatch);
  // Pages of other encodings do not look at a profile.
  Bytes direct = encoded({.geometry = test.geometry}, test.tensors);
  EXPECT_TRUE(decode_status(direct, &other).has_value());
}

}  // namespace
}  // namespace sluice::codec
