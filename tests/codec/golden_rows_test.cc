// Golden pages of the progressive encoding decode to what they did, and encoding their sources
// gives the same bytes. codec_format_decoder_* decodes the same pages from FORMAT.md.
//
// `.source` is what was encoded, `.tensors` what comes out of the lossy rows; with an exact row the
// source does. Files of profiles list channels in neox order.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "codec/codec.h"
#include "tests/codec/edge_profile.h"
#include "tests/codec/forged_page.h"
#include "tests/codec/golden.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

struct RowsGolden {
  std::string name;
  std::string profile;
  DType dtype = DType::f16;
  RopePairing pairing = RopePairing::neox;
  uint64_t first_position = 0;
  uint32_t odd = 0;  // bits of an element that no step reaches
  uint32_t lossy_rows = 0;
  bool exact_row = false;
};

constexpr uint64_t kFar = (uint64_t{1} << 33) + 64;

const RowsGolden kRowsGoldens[] = {
    {"progressive_f16", "progressive", DType::f16, RopePairing::neox, 0, 0x7c00},
    {"progressive_bf16", "progressive", DType::bf16, RopePairing::interleaved, 64, 0xff7f},
    {"progressive_f32", "progressive", DType::f32, RopePairing::neox, kFar, 0x7fc00001},
    {"rows_bf16", "givens", DType::bf16, RopePairing::interleaved, 64, 0xff7f, 3, true},
    {"rows_f16", "matrices", DType::f16, RopePairing::neox, 0, 0x7c00, 1, true},
    {"rows_f32", "givens", DType::f32, RopePairing::neox, 128, 0x7fc10000, 2, true},
    {"rows_lossy_bf16", "matrices", DType::bf16, RopePairing::interleaved, 0, 0xff80, 3, false},
    {"edges_f16", "edges", DType::f16, RopePairing::neox, 2, 0, 3, true},
    {"edges_f32", "edges", DType::f32, RopePairing::interleaved, 96, 0, 2, true},
};
// Those without a source to encode: its values are none that an encoder comes to; it is large.
const RowsGolden kForgedGolden = {
    "forged_bf16", "hostile", DType::bf16, RopePairing::neox, 32, 0, 3, true};
const RowsGolden kLatentGolden = {
    "latent_bf16", "latent", DType::bf16, RopePairing::interleaved, 32, 0, 3, false};

PageGeometry geometry_of(const RowsGolden& golden) {
  if (golden.profile == "edges" || golden.profile == "hostile") {
    return edge_geometry(golden.dtype);
  }
  if (golden.profile == "latent") {  // one head, two groups of layers
    return {.planes = {{PlaneRole::latent, golden.dtype, 1, 512 + 64, 64}},
            .layers = 3,
            .n_tokens = 32};
  }
  PageGeometry geometry = kv_geometry(golden.dtype, 3, 64, 2, 8);
  geometry.planes[0].rotated_dims = 6;
  return geometry;
}

Profile profile_of(const RowsGolden& golden) {
  if (golden.profile == "edges") {
    return edge_profile();
  }
  if (golden.profile == "hostile") {
    return hostile_profile();
  }
  Profile profile = sample_profile(geometry_of(golden), RopePairing::neox, 3);
  if (golden.profile == "latent") {
    Prng prng(4);
    profile.rows = edge_profile().rows;
    add_basis(profile.layers[1].planes[0], profile_layout::kGivens, 0, prng);
  } else if (golden.profile == "matrices") {
    add_basis(profile, profile_layout::kMatrices, 4);
  } else if (golden.profile != "progressive") {
    add_basis(profile, profile_layout::kGivens, 4);
  }
  return profile;
}

// KV that is half again as wide as the profile says, so that corrections have something to do, with
// elements 300 steps from their mean, which are escapes under every table.
Bytes source_of(const RowsGolden& golden, Profile profile) {
  if (golden.profile == "edges") {
    return edge_tensors(profile, golden.dtype, golden.first_position);
  }
  if (golden.profile == "latent") {
    return tensors_of(profile, geometry_of(golden), golden.first_position, 11);
  }
  for (LayerModel& layer : profile.layers) {
    for (PlaneModel& plane : layer.planes) {
      for (ChannelModel& channel : plane.channels) {
        channel.scale = static_cast<uint8_t>(channel.scale + 2);
      }
    }
  }
  PageGeometry geometry = geometry_of(golden);
  Bytes source = tensors_of(profile, geometry, golden.first_position, 11);
  uint32_t bytes = dtype_bytes(golden.dtype);
  auto element = [&](uint32_t layer, size_t plane, size_t token, size_t channel) {
    return source.data() + geometry.offset_bytes(layer, plane) + (16 * token + channel) * bytes;
  };
  std::memcpy(element(1, 0, 40, 5), &golden.odd, bytes);
  const PlaneModel& model = profile.layers[2].planes[1];
  for (size_t channel : {3u, 4u}) {
    const ChannelModel& its = model.channels[channel];
    const int step_bits = static_cast<int>(model.step_bits);
    double distance = (channel == 3 ? 300 : -300) * std::ldexp(its.mantissa, step_bits - its.shift);
    uint32_t bits = to_bits(golden.dtype, std::ldexp(its.mean + distance, -model.exponent));
    std::memcpy(element(2, 1, 50, channel), &bits, bytes);
  }
  for (size_t i = 0; golden.dtype == DType::f32 && golden.exact_row && i < source.size(); i += 4) {
    source[i] = source[i + 1] = 0;  // bf16
  }
  return source;
}

Bytes page_of(const RowsGolden& golden, const Profile& profile, ByteSpan source) {
  return encoded({.page_key = sample_key(),
                  .encoding = Encoding::progressive,
                  .first_position = golden.first_position,
                  .geometry = geometry_of(golden),
                  .profile = &profile,
                  .lossy_rows = golden.lossy_rows,
                  .exact_row = golden.exact_row},
                 source);
}

Bytes lossy_part_of(ByteSpan page, const Profile& profile) {
  PageHeader header = parse_page_header(page).value();
  const size_t rows = header.rows.size() - (header.rows.back() == Row{} ? 1 : 0);
  const uint64_t end = header.section_offset(header.section_index(rows, 0, 0));
  return decoded_by_all(header, page.first(end), &profile);
}

Profile written_profile(const RowsGolden& golden) {
  const Bytes file = profile_file(profile_of(golden));
  write_golden(golden.profile + ".profile", file);
  return parse_profile(file, golden.pairing).value();
}

void write_page(const RowsGolden& golden, const Profile& profile, ByteSpan page) {
  write_golden(golden.name + ".page", page);
  write_golden(golden.name + ".tensors", lossy_part_of(page, profile));
}

void write_rows_goldens() {
  for (const RowsGolden& golden : kRowsGoldens) {
    const Profile profile = written_profile(golden);
    const Bytes source = source_of(golden, profile);
    write_golden(golden.name + ".source", source);
    write_page(golden, profile, page_of(golden, profile, source));
  }
  const Profile latent = written_profile(kLatentGolden);
  write_page(
      kLatentGolden, latent, page_of(kLatentGolden, latent, source_of(kLatentGolden, latent)));
  const Profile hostile = written_profile(kForgedGolden);
  const ForgedPage forged = forged_page(hostile, geometry_of(kForgedGolden), 1);
  write_golden(kForgedGolden.name + ".source", forged.source);
  write_page(kForgedGolden, hostile, forged.page);
}

Profile golden_profile(const RowsGolden& golden) {
  Result<Profile> profile = parse_profile(read_golden(golden.profile + ".profile"), golden.pairing);
  EXPECT_TRUE(profile.has_value()) << profile.error().to_string();
  return *profile;
}

void expect_decodes(const RowsGolden& golden) {
  const Profile profile = golden_profile(golden);
  const Bytes page = read_golden(golden.name + ".page");
  EXPECT_EQ(lossy_part_of(page, profile), read_golden(golden.name + ".tensors")) << golden.name;
  Result<PageHeader> header = verify_page(page);
  ASSERT_TRUE(header.has_value()) << header.error().to_string();
  if (golden.exact_row) {
    EXPECT_EQ(decoded_by_all(*header, page, &profile), read_golden(golden.name + ".source"))
        << golden.name;
  }
  for (const Section& section : header->sections) {
    EXPECT_EQ(section.flags, 0u) << golden.name;
  }
}

TEST(GoldenProgressivePages, DecodeToWhatTheyDid) {
  if (writes_golden()) {
    write_rows_goldens();
  }
  for (const RowsGolden& golden : kRowsGoldens) {
    expect_decodes(golden);
  }
  expect_decodes(kForgedGolden);
  expect_decodes(kLatentGolden);
}

TEST(GoldenProgressivePages, AreWhatTheEncoderWritesToday) {
  for (const RowsGolden& golden : kRowsGoldens) {
    const Bytes source = read_golden(golden.name + ".source");
    EXPECT_EQ(page_of(golden, golden_profile(golden), source), read_golden(golden.name + ".page"))
        << golden.name;
  }
}

}  // namespace
}  // namespace sluice::codec
