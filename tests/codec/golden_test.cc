// Golden pages decode to the tensors they were made of, and encoding those gives the same bytes.
#include "tests/codec/golden.h"

#include <gtest/gtest.h>

#include <string>

#include "codec/codec.h"
#include "tests/codec/sample_kv.h"

namespace sluice::codec {
namespace {

struct Golden {
  std::string name;
  PageSpec spec;
  Bytes tensors;
};

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

}  // namespace
}  // namespace sluice::codec
