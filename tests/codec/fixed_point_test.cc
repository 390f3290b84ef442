// The decoder's arithmetic against floating point: elements, turns, rotation.
#include "codec/fixed_point.h"

#include <gtest/gtest.h>

#include <bit>
#include <cfenv>
#include <cmath>
#include <numbers>
#include <vector>

#include "codec/rotation.h"
#include "src/base/prng.h"
#include "tests/codec/sample_kv.h"

namespace sluice::codec {
namespace {

constexpr uint32_t kMark = 8;

uint32_t element_of(DType dtype, int exponent, int32_t value) {
  std::vector<uint32_t> one = {static_cast<uint32_t>(value)};
  elements_from_fixed(dtype, exponent, one);
  return one[0];
}

TEST(FixedPoint, BecomesTheNearestElement) {
  Prng prng(1);
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (int exponent = -64; exponent <= 126; ++exponent) {
      for (int i = 0; i < 200; ++i) {
        auto value = static_cast<int32_t>(prng.below(1u << (1 + prng.below(24))));
        value = prng.below(2) == 0 ? value : -value;
        double exact = std::ldexp(value, -exponent);
        uint32_t expected = to_bits(dtype, exact);
        if (dtype == DType::f16 && std::abs(exact) > 65504) {
          expected = exact > 0 ? 0x7bff : 0xfbff;  // saturates
        }
        expected = value == 0 ? 0 : expected;
        ASSERT_EQ(element_of(dtype, exponent, value), expected)
            << dtype_name(dtype) << " " << value << " / 2^" << exponent;
      }
    }
  }
}

// FORMAT.md, "Values".
TEST(FixedPoint, OnlyTheValueZeroIsAPositiveZero) {
  EXPECT_EQ(element_of(DType::f16, 126, 0), 0u);
  EXPECT_EQ(element_of(DType::f16, 126, 1), 0u);
  EXPECT_EQ(element_of(DType::f16, 126, -1), 0x8000u);
}

TEST(FixedPoint, DoesNotDependOnTheRoundingMode) {
  for (int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    std::fesetround(mode);
    uint32_t half = element_of(DType::f16, 14, 0xffffff);
    uint32_t brain = element_of(DType::bf16, 14, -0xffffff);
    std::fesetround(FE_TONEAREST);
    EXPECT_EQ(half, element_of(DType::f16, 14, 0xffffff));
    EXPECT_EQ(brain, element_of(DType::bf16, 14, -0xffffff));
  }
}

TEST(FixedPoint, ElementsBecomeTheNearestInteger) {
  Prng prng(2);
  for (int exponent = -64; exponent <= 126; ++exponent) {
    std::vector<uint32_t> bits;
    for (int i = 0; i < 500; ++i) {
      bits.push_back(static_cast<uint32_t>(prng.next()));
      // Around the limit and around a half.
      auto power = static_cast<uint32_t>(127 - exponent - 2 + static_cast<int>(prng.below(27)));
      bits.push_back((bits.back() & 0x807fffff) | (power & 0xff) << 23);
    }
    std::vector<uint32_t> values = bits;
    std::vector<uint32_t> marks(bits.size(), 1);
    fixed_from_f32(exponent, values, kMark, marks);
    for (size_t i = 0; i < bits.size(); ++i) {
      double element = static_cast<double>(std::bit_cast<float>(bits[i]));
      double rounded = std::round(std::ldexp(element, exponent));
      bool fits = std::isfinite(element) && std::abs(std::ldexp(element, exponent)) < (1 << 23);
      ASSERT_EQ(marks[i], fits ? 1 : kMark) << element << " x 2^" << exponent;
      ASSERT_EQ(static_cast<int32_t>(values[i]), fits ? rounded : 0)
          << element << " x 2^" << exponent;
    }
  }
}

TEST(Rotation, TurnsAreCosAndSinToEightDigits) {
  Prng prng(3);
  for (int i = 0; i < 20000; ++i) {
    uint64_t phase = i < 16 ? uint64_t(i) << 60 : prng.next();
    double angle = 2 * std::numbers::pi * std::ldexp(static_cast<double>(phase), -64);
    Turn turn = turn_of(phase);
    EXPECT_NEAR(std::ldexp(turn.cosine, -30), std::cos(angle), 2e-8);
    EXPECT_NEAR(std::ldexp(turn.sine, -30), std::sin(angle), 2e-8);
  }
}

TEST(Rotation, PhasesWrapAround) {
  std::vector<int32_t> cosines(32), sines(32);
  uint64_t frequency = 0xfedcba9876543210;
  uint64_t first = 0xffffffffffffff00;
  fill_turns(frequency, first, cosines, sines);
  for (uint64_t token = 0; token < 32; ++token) {
    Turn turn = turn_of((first + token) * frequency);
    EXPECT_EQ(cosines[token], turn.cosine);
    EXPECT_EQ(sines[token], turn.sine);
  }
}

TEST(Rotation, GoesForwardsAndBack) {
  Prng prng(4);
  std::vector<int32_t> cosines(64), sines(64), x(64), y(64);
  fill_turns(prng.next(), 5, cosines, sines);
  for (size_t i = 0; i < 64; ++i) {
    x[i] = static_cast<int32_t>(prng.below(1 << 24)) - (1 << 23);
    y[i] = static_cast<int32_t>(prng.below(1 << 24)) - (1 << 23);
  }
  std::vector<int32_t> a = x, b = y;
  rotate(cosines, sines, a, b);
  for (size_t i = 0; i < 64; ++i) {
    double c = std::ldexp(cosines[i], -30), s = std::ldexp(sines[i], -30);
    EXPECT_NEAR(a[i], x[i] * c - y[i] * s, 0.51);
    EXPECT_NEAR(b[i], y[i] * c + x[i] * s, 0.51);
  }
  unrotate(cosines, sines, a, b);
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_NEAR(a[i], x[i], 2);
    EXPECT_NEAR(b[i], y[i], 2);
  }
}

}  // namespace
}  // namespace sluice::codec
