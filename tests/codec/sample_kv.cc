#include "tests/codec/sample_kv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "codec/elements.h"

namespace sluice::codec {
namespace {

struct Channel {
  double mean = 0;
  double deviation = 0;
  uint32_t constant = 0;
};

Channel make_channel(Sample sample, Prng& prng) {
  Channel channel;
  double spread = sample == Sample::wide_channels ? 40 * prng.unit() - 24 : 3 * prng.unit() - 2;
  channel.deviation = std::exp2(spread);
  channel.mean = prng.below(3) == 0 ? channel.deviation * 12 * (prng.unit() - 0.5) : 0;
  channel.constant = static_cast<uint32_t>(prng.next());
  return channel;
}

uint32_t special_bits(DType dtype, Prng& prng) {
  uint32_t exponent = prng.below(2) == 0 ? 0 : 0x7fffffff;  // lowest or highest
  auto mantissa = static_cast<uint32_t>(prng.below(3) == 0 ? 0 : prng.next());
  uint32_t sign = static_cast<uint32_t>(prng.below(2)) << 31;
  switch (dtype) {
    case DType::bf16:
      return (sign | (exponent & 0x7f800000) | (mantissa & 0x7f0000)) >> 16;
    case DType::f16:
      return sign >> 16 | (exponent & 0x7c00) | (mantissa & 0x3ff);
    default:
      return sign | (exponent & 0x7f800000) | (mantissa & 0x7fffff);
  }
}

uint32_t element_bits(
    DType dtype, Sample sample, const Channel& channel, uint32_t token, Prng& prng) {
  switch (sample) {
    case Sample::uniform_bits:
      return static_cast<uint32_t>(prng.next());
    case Sample::zeros:
      return 0;
    case Sample::constant_channels:
      return channel.constant;
    case Sample::alternating_signs:
      return to_bits(dtype, token % 2 == 0 ? 1.0 : -1.0);
    case Sample::special_values:
      return special_bits(dtype, prng);
    case Sample::sparse:
      return prng.below(10) != 0 ? 0 : to_bits(dtype, normal(prng));
    case Sample::outliers:
    case Sample::gaussian:
    case Sample::wide_channels:
      break;
  }
  double scale = sample == Sample::outliers && token == 0 ? 100 : 1;
  return to_bits(dtype, scale * (channel.mean + channel.deviation * normal(prng)));
}

}  // namespace

double normal(Prng& prng) {
  double sum = -6;  // twelve uniforms
  for (int i = 0; i < 12; ++i) {
    sum += prng.unit();
  }
  return sum;
}

uint32_t to_bits(DType dtype, double element) {
  auto bits = std::bit_cast<uint32_t>(static_cast<float>(element));
  if (dtype == DType::f32) {
    return bits;
  }
  if (dtype == DType::bf16) {
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  }
  // A float has half of f16's last place to spare down to 2^-24, so a sum rounds it to nearest
  // even.
  auto magnitude = std::bit_cast<float>(bits & 0x7fffffff);
  if (magnitude >= 65520.0f) {
    return (bits >> 16 & 0x8000) | 0x7c00;
  }
  int exponent = std::max(std::ilogb(std::max(magnitude, 0x1p-30f)), -14);
  float anchor = std::ldexp(1.5f, exponent + 13);
  volatile float sum = magnitude + anchor;
  return (bits >> 16 & 0x8000) | narrow_to_f16(std::bit_cast<uint32_t>(sum - anchor));
}

Bytes sample_tensors(const PageGeometry& geometry, Sample sample, uint64_t seed) {
  Prng prng(seed);
  Bytes tensors(geometry.bytes());
  uint8_t* at = tensors.data();
  for (uint32_t layer = 0; layer < geometry.layers; ++layer) {
    for (const Plane& plane : geometry.planes) {
      std::vector<Channel> channels;
      for (uint64_t i = 0; i < plane.width(); ++i) {
        channels.push_back(make_channel(sample, prng));
      }
      for (uint32_t token = 0; token < geometry.n_tokens; ++token) {
        for (const Channel& channel : channels) {
          uint32_t bytes = dtype_bytes(plane.dtype);
          uint64_t bits =
              bytes == 1 ? prng.next() : element_bits(plane.dtype, sample, channel, token, prng);
          for (uint32_t i = 0; i < bytes; ++i) {
            *at++ = static_cast<uint8_t>(bits >> 8 * i);
          }
        }
      }
    }
  }
  return tensors;
}

PageGeometry kv_geometry(
    DType dtype, uint32_t layers, uint32_t n_tokens, uint32_t heads, uint32_t dim) {
  Plane k{.role = PlaneRole::k, .dtype = dtype, .heads = heads, .dim = dim, .rotated_dims = dim};
  Plane v{.role = PlaneRole::v, .dtype = dtype, .heads = heads, .dim = dim, .rotated_dims = 0};
  return {.planes = {k, v}, .layers = layers, .n_tokens = n_tokens};
}

Bytes encoded(const PageSpec& spec, ByteSpan tensors) {
  Workspace workspace;
  Bytes page(encode_bound(spec.geometry, kRowsMax).value());
  Result<size_t> bytes = encode_page(spec, tensors, page, workspace);
  EXPECT_TRUE(bytes.has_value()) << bytes.error().to_string();
  page.resize(bytes.has_value() ? *bytes : 0);
  return page;
}

}  // namespace sluice::codec
