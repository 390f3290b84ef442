// encode_page and decode_page on good input: what comes back, how small, and what callers do wrong.
#include "codec/codec.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "codec/elements.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

double bits_per_element(const PageGeometry& geometry, const Bytes& page) {
  return 8.0 * static_cast<double>(page.size()) / static_cast<double>(geometry.elements());
}

Errc encode_error(const PageSpec& spec, ByteSpan tensors, size_t out_bytes) {
  Workspace workspace;
  Bytes out(out_bytes);
  Result<size_t> bytes = encode_page(spec, tensors, out, workspace);
  return bytes.has_error() ? bytes.error().code : Errc::ok;
}

class EveryDtype : public testing::TestWithParam<DType> {};

TEST_P(EveryDtype, ComesBackBitForBitUnderBothEncodings) {
  for (Sample sample : kSamples) {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      uint32_t layers = seed == 0 ? 7 : 1;
      PageGeometry geometry = kv_geometry(GetParam(), layers, seed == 2 ? 96 : 64, 2, 40);
      Bytes tensors = sample_tensors(geometry, sample, seed);
      for (Encoding encoding : {Encoding::raw, Encoding::direct}) {
        Bytes page = encoded({.encoding = encoding, .geometry = geometry}, tensors);
        EXPECT_EQ(decoded(page, nullptr), tensors) << int(sample) << " seed " << seed;
        EXPECT_LE(page.size(), encode_bound(geometry).value());
      }
    }
  }
}

TEST_P(EveryDtype, GivesTheSameBytesEachTime) {
  PageGeometry geometry = kv_geometry(GetParam(), 3, 64, 2, 64);
  Bytes tensors = sample_tensors(geometry, Sample::outliers, 5);
  PageSpec spec{.geometry = geometry};
  Workspace used;  // that another page has been through
  Bytes out(encode_bound(geometry).value());
  PageGeometry other = kv_geometry(DType::bf16, 5, 32, 1, 16);
  Bytes noise = sample_tensors(other, Sample::uniform_bits, 1);
  Bytes other_out(encode_bound(other).value());
  ASSERT_TRUE(encode_page({.geometry = other}, noise, other_out, used).has_value());
  size_t bytes = encode_page(spec, tensors, out, used).value();
  out.resize(bytes);
  EXPECT_EQ(out, encoded(spec, tensors));
}

INSTANTIATE_TEST_SUITE_P(
    Codec,
    EveryDtype,
    testing::Values(DType::f32, DType::f16, DType::bf16, DType::f8_e4m3, DType::f8_e5m2, DType::u8),
    [](const auto& dtype) { return std::string(dtype_name(dtype.param)); });

TEST(Codec, EveryBitPatternOf16BitsComesBack) {
  for (DType dtype : {DType::f16, DType::bf16}) {
    PageGeometry geometry = kv_geometry(dtype, 1, 64, 8, 64);
    Bytes tensors(geometry.bytes());
    for (size_t i = 0; i < tensors.size() / 2; ++i) {
      // Half of the channels hold neighbours, which are coded; half hold all there is, which is
      // raw.
      size_t pattern = i % 2 == 0 ? (i / 1024) + 64 * (i % 1024) : i * 40503;
      store_le(tensors.data() + 2 * i, static_cast<uint16_t>(pattern));
    }
    EXPECT_EQ(decoded(encoded({.geometry = geometry}, tensors), nullptr), tensors);
  }
}

TEST(Codec, DirectTakesFewerBitsThanADirectCoderWithoutMeans) {
  // Means of a third of the channels: one table a layer would take 13.7 and 10.7 bits.
  PageGeometry geometry = kv_geometry(DType::f16, 30, 64, 3, 64);
  Bytes page = encoded({.geometry = geometry}, sample_tensors(geometry, Sample::gaussian, 1));
  EXPECT_LT(bits_per_element(geometry, page), 13.3);
  geometry = kv_geometry(DType::bf16, 30, 64, 3, 64);
  page = encoded({.geometry = geometry}, sample_tensors(geometry, Sample::gaussian, 1));
  EXPECT_LT(bits_per_element(geometry, page), 10.3);
}

TEST(Codec, ChannelsThatDoNotChangeCostNextToNothing) {
  PageGeometry geometry = kv_geometry(DType::bf16, 30, 64, 3, 64);
  for (Sample sample : {Sample::zeros, Sample::constant_channels}) {
    Bytes page = encoded({.geometry = geometry}, sample_tensors(geometry, sample, 1));
    EXPECT_LT(bits_per_element(geometry, page), 0.45) << int(sample);
  }
}

TEST(Codec, NoiseIsStoredAsItIsByFlag) {
  PageGeometry geometry = kv_geometry(DType::f16, 2, 64, 3, 64);
  Bytes page = encoded({.geometry = geometry}, sample_tensors(geometry, Sample::uniform_bits, 1));
  PageHeader header = parse_page_header(page).value();
  for (const Section& section : header.sections) {
    EXPECT_EQ(section.flags, kSectionStoredRaw);
  }
  EXPECT_EQ(page.size(), header.header_bytes() + geometry.bytes());
}

TEST(Codec, OneBadChannelDoesNotSpoilASection) {
  PageGeometry geometry = kv_geometry(DType::f16, 1, 64, 8, 64);
  Bytes tensors = sample_tensors(geometry, Sample::gaussian, 1);
  size_t before = encoded({.geometry = geometry}, tensors).size();
  Prng prng(3);
  for (size_t token = 0; token < 64; ++token) {
    store_le(tensors.data() + 2 * (token * 512 + 17), static_cast<uint16_t>(prng.next()));
  }
  EXPECT_LT(encoded({.geometry = geometry}, tensors).size(), before + 48);
}

TEST(Codec, F32ThatIsExactlySixteenBitsIsStoredAsThat) {
  for (DType narrow : {DType::f16, DType::bf16}) {
    PageGeometry wide = kv_geometry(DType::f32, 6, 64, 3, 64);
    PageGeometry geometry = kv_geometry(narrow, 6, 64, 3, 64);
    for (Sample sample : {Sample::gaussian, Sample::special_values}) {
      Bytes small = sample_tensors(geometry, sample, 9);
      Bytes tensors(wide.bytes());
      for (size_t i = 0; i < wide.elements(); ++i) {
        auto bits = load_le<uint16_t>(small.data() + 2 * i);
        store_le(tensors.data() + 4 * i,
                 narrow == DType::bf16 ? uint32_t{bits} << 16 : widen_f16(bits));
      }
      Bytes page = encoded({.geometry = wide}, tensors);
      EXPECT_EQ(decoded(page, nullptr), tensors);
      PageHeader header = parse_page_header(page).value();
      EXPECT_EQ(header.stored, (std::vector<DType>{narrow, narrow}));
      size_t small_page = encoded({.geometry = geometry}, small).size();
      EXPECT_LE(page.size(), small_page + small_page / 64);

      tensors[2] ^= 1;  // now one element of K is neither
      tensors[0] ^= 1;
      page = encoded({.geometry = wide}, tensors);
      EXPECT_EQ(decoded(page, nullptr), tensors);
      header = parse_page_header(page).value();
      EXPECT_EQ(header.stored, (std::vector<DType>{DType::f32, narrow}));
    }
  }
}

TEST(Codec, PlanesOfDifferentWidthAndRoleTravelTogether) {
  PageGeometry geometry{.planes = {{PlaneRole::latent, DType::bf16, 1, 512, 0},
                                   {PlaneRole::k, DType::bf16, 1, 64, 64},
                                   {PlaneRole::index, DType::bf16, 1, 16, 0},
                                   {PlaneRole::state, DType::u8, 3, 5, 0}},
                        .layers = 5,
                        .n_tokens = 32};
  Bytes tensors = sample_tensors(geometry, Sample::gaussian, 4);
  Bytes page = encoded({.geometry = geometry}, tensors);
  EXPECT_EQ(decoded(page, nullptr), tensors);
  PageHeader header = parse_page_header(page).value();
  for (size_t i = 0; i < header.sections.size(); ++i) {
    EXPECT_EQ(header.sections[i].flags, i % 4 < 2 ? 0 : kSectionStoredRaw) << i;
  }
}

TEST(Codec, LayersDecodeByThemselves) {
  PageGeometry geometry = kv_geometry(DType::f16, 10, 64, 3, 64);
  Bytes tensors = sample_tensors(geometry, Sample::gaussian, 8);
  Bytes page = encoded({.geometry = geometry}, tensors);
  PageHeader header = parse_page_header(page).value();
  Workspace workspace;
  for (uint32_t first = 0; first < 10; ++first) {
    for (uint32_t layers = 1; layers <= 10 - first; ++layers) {
      SectionRange range = select_sections(header, 0, first, layers).value();
      ByteSpan sections = ByteSpan(page).subspan(range.offset, range.bytes);
      Bytes out(range.layers * geometry.layer_bytes());
      ASSERT_TRUE(decode_layers(header, 1, first, layers, sections, out, workspace).has_value());
      EXPECT_TRUE(std::equal(
          out.begin(), out.end(), &tensors[geometry.offset_bytes(range.first_layer, 0)]));
    }
  }
}

TEST(Codec, TheHeaderSaysWhatTheCallerSaid) {
  PageSpec spec{.provenance_kl = 12,
                .first_position = 4096,
                .geometry = kv_geometry(DType::f16, 1, 32, 1, 8)};
  spec.page_key[31] = 9;
  Bytes page = encoded(spec, sample_tensors(spec.geometry, Sample::gaussian, 1));
  PageHeader header = parse_page_header(page).value();
  EXPECT_EQ(header.page_key, spec.page_key);
  EXPECT_EQ(header.encoding, Encoding::direct);
  EXPECT_EQ(header.provenance_kl, 12u);
  EXPECT_EQ(header.first_position, 4096u);
  EXPECT_EQ(header.geometry, spec.geometry);
  EXPECT_EQ(header.profile_digest, Hash32{});
}

TEST(Codec, RefusesWhatACallerGotWrong) {
  PageSpec spec{.geometry = kv_geometry(DType::f16, 2, 64, 1, 64)};
  Bytes tensors = sample_tensors(spec.geometry, Sample::gaussian, 1);
  size_t bound = encode_bound(spec.geometry).value();
  EXPECT_EQ(encode_error(spec, tensors, bound), Errc::ok);
  EXPECT_EQ(encode_error(spec, tensors, bound - 1), Errc::output_too_small);
  EXPECT_EQ(encode_error(spec, tensors, 0), Errc::output_too_small);
  EXPECT_EQ(encode_error(spec, ByteSpan(tensors).first(tensors.size() - 1), bound),
            Errc::invalid_argument);
  spec.encoding = Encoding::archive;
  EXPECT_EQ(encode_error(spec, tensors, bound), Errc::unsupported);
  spec.encoding = static_cast<Encoding>(0);
  EXPECT_EQ(encode_error(spec, tensors, bound), Errc::unsupported);
}

TEST(Codec, RefusesGeometriesThatAPageCannotHold) {
  EXPECT_EQ(encode_bound(kv_geometry(DType::f16, 2, 33, 1, 8)).error().code, Errc::bad_value);
  EXPECT_EQ(encode_bound(kv_geometry(DType::f16, 0, 32, 1, 8)).error().code, Errc::bad_value);
  EXPECT_EQ(encode_bound(kv_geometry(DType::f16, 1, 32, 65536, 8)).error().code, Errc::too_large);
  EXPECT_EQ(encode_bound(kv_geometry(DType::f32, 1, 4096, 64, 128)).error().code, Errc::too_large);
  PageGeometry many_sections{.layers = 4096,
                             .n_tokens = 32};  // 65536, with 16 bytes of header each
  many_sections.planes.assign(16, {PlaneRole::opaque, DType::u8, 1, 1, 0});
  many_sections.planes[0].dim = 1024;
  EXPECT_EQ(encode_bound(many_sections).error().code, Errc::too_large);
  many_sections.layers = 4000;
  EXPECT_TRUE(encode_bound(many_sections).has_value());
}

TEST(Codec, RefusesRowsThatAPageHasNot) {
  PageGeometry geometry = kv_geometry(DType::f16, 2, 64, 1, 64);
  Bytes page = encoded({.geometry = geometry}, sample_tensors(geometry, Sample::gaussian, 1));
  PageHeader header = parse_page_header(page).value();
  ByteSpan sections = ByteSpan(page).subspan(header.header_bytes());
  Bytes out(geometry.bytes());
  Workspace workspace;
  const auto code = [&](size_t rows) {
    Status status = decode_layers(header, rows, 0, 2, sections, out, workspace);
    return status.has_error() ? status.error().code : Errc::ok;
  };
  EXPECT_EQ(code(0), Errc::invalid_argument);
  EXPECT_EQ(code(1), Errc::ok);
  EXPECT_EQ(code(2), Errc::invalid_argument);
}

TEST(Codec, RefusesAnOutputThatIsTooSmallToDecodeInto) {
  PageGeometry geometry = kv_geometry(DType::f16, 2, 64, 1, 64);
  Bytes page = encoded({.geometry = geometry}, sample_tensors(geometry, Sample::gaussian, 1));
  PageHeader header = parse_page_header(page).value();
  Bytes out(geometry.bytes() - 1);
  Workspace workspace;
  EXPECT_EQ(decode_page(header, page, out, workspace).error().code, Errc::output_too_small);
}

}  // namespace
}  // namespace sluice::codec
