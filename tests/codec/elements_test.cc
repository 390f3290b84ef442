// Conversions between f32 and 16 bits, exhaustively, and the transposition around them.
#include "codec/elements.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "tests/codec/sample_kv.h"

namespace sluice::codec {
namespace {

float float_of(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

TEST(Elements, EveryF16WidensToItsValueAndBack) {
  for (uint32_t half = 0; half < 65536; ++half) {
    uint32_t bits = widen_f16(static_cast<uint16_t>(half));
    EXPECT_EQ(narrow_to_f16(bits), half);
    uint32_t exponent = half >> 10 & 31;
    double mantissa = half & 1023;
    double magnitude =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, int(exponent) - 25);
    if (exponent == 31) {
      EXPECT_EQ(bits & 0x7fffffff, 0x7f800000 | (half & 1023) << 13);
    } else {
      EXPECT_EQ(double{float_of(bits & 0x7fffffff)}, magnitude);
    }
    EXPECT_EQ(bits >> 31, half >> 15);
  }
}

TEST(Elements, ValuesBetweenTwoF16AreNotExact) {
  Bytes element(4);
  for (double value : {1.0 + 0x1p-11, 0x1p-25, 65536.0, 1e30, 0x1p-24 + 0x1p-26, 0x1p-140}) {
    store_le(element.data(), to_bits(DType::f32, value));
    EXPECT_FALSE(is_exactly(DType::f16, element)) << value;
  }
  store_le(element.data(), uint32_t{0x7fc00001});  // a NaN whose payload f16 has no room for
  EXPECT_FALSE(is_exactly(DType::f16, element));
  store_le(element.data(), uint32_t{0x7f800001});  // would become an infinity
  EXPECT_FALSE(is_exactly(DType::f16, element));
  EXPECT_FALSE(is_exactly(DType::bf16, element));
}

TEST(Elements, EveryBf16IsExactlyItself) {
  Bytes elements(4 * 65536);
  for (uint32_t value = 0; value < 65536; ++value) {
    store_le(elements.data() + 4 * value, value << 16);
  }
  EXPECT_TRUE(is_exactly(DType::bf16, elements));
  EXPECT_FALSE(is_exactly(DType::f16, elements));
}

TEST(Elements, GatherPutsTheTokensOfAChannelSideBySide) {
  LayerShape shape{.channels = 37, .n_tokens = 32, .dtype = DType::f16, .stored = DType::f16};
  Bytes layer(2 * 37 * 32);
  for (size_t i = 0; i < layer.size() / 2; ++i) {
    store_le(layer.data() + 2 * i, static_cast<uint16_t>(i));
  }
  std::vector<uint16_t> values(37 * 32);
  gather_layer(shape, scalar_kernels(), layer, bytes_of(values));
  EXPECT_EQ(values[0], 0);
  EXPECT_EQ(values[1], 37);  // token 1 of channel 0
  EXPECT_EQ(values[32], 1);  // token 0 of channel 1
  EXPECT_EQ(values[37 * 32 - 1], 37 * 32 - 1);
  Bytes back(layer.size());
  scatter_layer(shape, scalar_kernels(), bytes_of(values), back);
  EXPECT_EQ(back, layer);
}

TEST(SampleKv, RoundsToNearestEven) {
  EXPECT_EQ(to_bits(DType::f16, 1.0), 0x3c00u);
  EXPECT_EQ(to_bits(DType::f16, 1.0 + 0x1p-11), 0x3c00u);
  EXPECT_EQ(to_bits(DType::f16, 1.0 + 3 * 0x1p-11), 0x3c02u);
  EXPECT_EQ(to_bits(DType::f16, -0x1p-24), 0x8001u);
  EXPECT_EQ(to_bits(DType::f16, 1e6), 0x7c00u);
  EXPECT_EQ(to_bits(DType::bf16, 1.0 + 0x1p-8), 0x3f80u);
}

}  // namespace
}  // namespace sluice::codec
