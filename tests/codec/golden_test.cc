// Golden pages decode to the tensors they were made of, and encoding those gives the same bytes.
#include "tests/codec/golden.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "codec/codec.h"
#include "codec/kernels.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

// What both sets of kernels decode of a page.
Bytes decoded_by_all(const PageHeader& header, ByteSpan page, const Profile* profile) {
  Bytes out(header.geometry.bytes()), twin(out.size());
  Workspace plain{.kernels = &scalar_kernels()}, best;
  const Status status = decode_page(header, page, out, plain, profile);
  EXPECT_TRUE(status.has_value()) << status.error().to_string();
  EXPECT_TRUE(decode_page(header, page, twin, best, profile).has_value());
  EXPECT_EQ(twin, out) << best.kernels->name;
  return out;
}

struct Golden {
  std::string name;
  PageSpec spec;
  Bytes tensors;
};

Hash32 sample_key() {
  Hash32 key;
  for (size_t i = 0; i < key.size(); ++i) {
    key[i] = static_cast<uint8_t>(i);
  }
  return key;
}

// The example of FORMAT.md: dims 0 and 2 vary, 1 and 3 do not.
Golden example() {
  Golden golden{.name = "example.page", .spec = {.page_key = sample_key(), .first_position = 64}};
  golden.spec.geometry = {
      .planes = {{PlaneRole::k, DType::f16, 1, 4, 4}}, .layers = 1, .n_tokens = 32};
  golden.tensors = sample_tensors(golden.spec.geometry, Sample::gaussian, 1);
  for (size_t token = 0; token < 32; ++token) {
    store_le(golden.tensors.data() + 8 * token + 2, uint16_t{0x3c00});
    store_le(golden.tensors.data() + 8 * token + 6, uint16_t{0});
  }
  return golden;
}

Golden sampled(std::string name, Encoding encoding, DType dtype, Sample sample) {
  Golden golden{.name = std::move(name),
                .spec = {.page_key = sample_key(),
                         .encoding = encoding,
                         .provenance_kl = 3,
                         .geometry = kv_geometry(dtype, 3, 64, 1, 16)}};
  golden.tensors = sample_tensors(golden.spec.geometry, sample, 1);
  return golden;
}

std::vector<Golden> goldens() {
  std::vector<Golden> all;
  all.push_back(example());
  all.push_back(sampled("raw_f16.page", Encoding::raw, DType::f16, Sample::gaussian));
  all.push_back(sampled("direct_f16.page", Encoding::direct, DType::f16, Sample::gaussian));
  all.push_back(sampled("direct_bf16.page", Encoding::direct, DType::bf16, Sample::gaussian));
  all.push_back(sampled("direct_outliers.page", Encoding::direct, DType::f16, Sample::outliers));
  all.push_back(
      sampled("direct_special.page", Encoding::direct, DType::bf16, Sample::special_values));
  all.push_back(
      sampled("direct_f32.page", Encoding::direct, DType::f32, Sample::alternating_signs));
  return all;
}

TEST(GoldenPages, DecodeToWhatTheyWereMadeOf) {
  for (const Golden& golden : goldens()) {
    if (writes_golden()) {
      write_golden(golden.name, encoded(golden.spec, golden.tensors));
    }
    Bytes page = read_golden(golden.name);
    Result<PageHeader> header = verify_page(page);
    ASSERT_TRUE(header.has_value()) << golden.name << ": " << header.error().to_string();
    EXPECT_EQ(header->geometry, golden.spec.geometry) << golden.name;
    EXPECT_EQ(decoded_by_all(*header, page, nullptr), golden.tensors) << golden.name;
  }
}

TEST(GoldenPages, AreWhatTheEncoderWritesToday) {
  for (const Golden& golden : goldens()) {
    EXPECT_EQ(encoded(golden.spec, golden.tensors), read_golden(golden.name)) << golden.name;
  }
}

// Pages of three profiles, whose files list channels in neox order. `.source` is what was encoded,
// `.tensors` what comes out of the lossy rows; with an exact one the source does.
struct LossyGolden {
  std::string name;
  std::string profile;
  DType dtype = DType::f16;
  RopePairing pairing = RopePairing::neox;
  uint64_t first_position = 0;
  uint32_t odd = 0;  // bits of an element that no step reaches
  uint32_t lossy_rows = 0;
  bool exact_row = false;

  PageGeometry geometry() const {
    PageGeometry geometry = kv_geometry(dtype, 3, 64, 2, 8);
    geometry.planes[0].rotated_dims = 6;
    return geometry;
  }
};

const LossyGolden kLossyGoldens[] = {
    {"progressive_f16", "progressive", DType::f16, RopePairing::neox, 0, 0x7c00},
    {"progressive_bf16", "progressive", DType::bf16, RopePairing::interleaved, 64, 0xff7f},
    {"progressive_f32",
     "progressive",
     DType::f32,
     RopePairing::neox,
     (uint64_t{1} << 33) + 64,
     0x7fc00001},
    {"rows_bf16", "givens", DType::bf16, RopePairing::interleaved, 64, 0xff7f, 3, true},
    {"rows_f16", "matrices", DType::f16, RopePairing::neox, 0, 0x7c00, 1, true},
    {"rows_f32", "givens", DType::f32, RopePairing::neox, 128, 0x7fc10000, 2, true},
    {"rows_lossy_bf16", "matrices", DType::bf16, RopePairing::interleaved, 0, 0xff80, 3, false},
};

Profile golden_profile(const std::string& name) {
  Profile profile = sample_profile(kLossyGoldens[0].geometry(), RopePairing::neox, 3);
  if (name != "progressive") {
    add_basis(profile, name == "givens" ? profile_layout::kGivens : profile_layout::kMatrices, 4);
  }
  return profile;
}

// KV that is half again as wide as the profile says, so that corrections have something to do, with
// elements 300 steps from their mean, which are escapes under every table.
Bytes lossy_source(const LossyGolden& golden, Profile profile) {
  for (LayerModel& layer : profile.layers) {
    for (PlaneModel& plane : layer.planes) {
      for (ChannelModel& channel : plane.channels) {
        channel.scale = static_cast<uint8_t>(channel.scale + 2);
      }
    }
  }
  PageGeometry geometry = golden.geometry();
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

Bytes encoded_lossy(const LossyGolden& golden, const Profile& profile, ByteSpan source) {
  return encoded({.page_key = sample_key(),
                  .encoding = Encoding::progressive,
                  .first_position = golden.first_position,
                  .geometry = golden.geometry(),
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

void write_lossy_goldens() {
  for (const LossyGolden& golden : kLossyGoldens) {
    Bytes file = profile_file(golden_profile(golden.profile));
    write_golden(golden.profile + ".profile", file);
    Profile profile = parse_profile(file, golden.pairing).value();
    Bytes source = lossy_source(golden, profile);
    Bytes page = encoded_lossy(golden, profile, source);
    write_golden(golden.name + ".source", source);
    write_golden(golden.name + ".page", page);
    write_golden(golden.name + ".tensors", lossy_part_of(page, profile));
  }
}

TEST(GoldenProgressivePages, DecodeToWhatTheyDid) {
  if (writes_golden()) {
    write_lossy_goldens();
  }
  for (const LossyGolden& golden : kLossyGoldens) {
    Result<Profile> profile =
        parse_profile(read_golden(golden.profile + ".profile"), golden.pairing);
    ASSERT_TRUE(profile.has_value()) << profile.error().to_string();
    Bytes page = read_golden(golden.name + ".page");
    EXPECT_EQ(lossy_part_of(page, *profile), read_golden(golden.name + ".tensors")) << golden.name;
    if (golden.exact_row) {
      EXPECT_EQ(decoded_by_all(verify_page(page).value(), page, &*profile),
                read_golden(golden.name + ".source"))
          << golden.name;
    }
    PageHeader header = parse_page_header(page).value();
    for (const Section& section : header.sections) {
      EXPECT_EQ(section.flags, 0u) << golden.name;
    }
  }
}

TEST(GoldenProgressivePages, AreWhatTheEncoderWritesToday) {
  for (const LossyGolden& golden : kLossyGoldens) {
    Profile profile =
        parse_profile(read_golden(golden.profile + ".profile"), golden.pairing).value();
    Bytes source = read_golden(golden.name + ".source");
    EXPECT_EQ(encoded_lossy(golden, profile, source), read_golden(golden.name + ".page"))
        << golden.name;
  }
}

}  // namespace
}  // namespace sluice::codec
