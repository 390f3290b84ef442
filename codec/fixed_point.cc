#include "codec/fixed_point.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdlib>

namespace sluice::codec {
namespace {

constexpr uint32_t kF16LargestAsF32 = 0x477fe000;    // 65504
constexpr uint32_t kF16SmallestNormal = 0x38800000;  // 2^-14

// A quotient by 2^shift rounded to nearest even; nothing is lost where shift is 0.
uint32_t shifted_to_even(uint32_t value, uint32_t shift) {
  uint32_t half_below = (1u << shift >> 1) - (shift != 0);
  return (value + half_below + (value >> shift & uint32_t{shift != 0})) >> shift;
}

// Exact: the integer has at most 24 bits and the result is a normal number or zero.
uint32_t f32_of(uint32_t value, float unit) {
  return std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(value)) * unit);
}

void f16_from_fixed(int exponent, float unit, std::span<uint32_t> values) {
  // Denormals are the integer in units of 2^-24. Those that are finer than the integers have at
  // most 10 bits below the smallest normal number.
  auto right = static_cast<uint32_t>(std::clamp(exponent - 24, 0, 31));
  auto left = static_cast<uint32_t>(std::clamp(24 - exponent, 0, 10));
  for (uint32_t& value : values) {
    uint32_t f32 = f32_of(value, unit);
    uint32_t magnitude = f32 & 0x7fffffff;
    uint32_t sign = f32 >> 16 & 0x8000;
    uint32_t normal = shifted_to_even(std::min(magnitude, kF16LargestAsF32), 13) - (112u << 10);
    auto integer = static_cast<uint32_t>(std::abs(static_cast<int32_t>(value)));
    uint32_t denormal = shifted_to_even(integer, right) << left;
    value = sign | (magnitude < kF16SmallestNormal ? denormal : normal);
  }
}

}  // namespace

void fixed_from_f32(int exponent,
                    std::span<uint32_t> f32_bits,
                    uint32_t mark,
                    std::span<uint32_t> marks) {
  for (size_t i = 0; i < f32_bits.size(); ++i) {
    uint32_t bits = f32_bits[i];
    auto power = static_cast<int>(bits >> 23 & 0xff);
    uint32_t significand = (bits & 0x7fffff) | uint32_t{power != 0} << 23;
    // The value is significand / 2^shift units.
    int shift = 150 - std::max(power, 1) - exponent;
    bool fits = power != 0xff && shift >= 1;
    auto by = static_cast<uint32_t>(std::clamp(shift, 1, 31));
    auto magnitude = static_cast<int32_t>((significand + (1u << (by - 1))) >> by);
    magnitude = fits ? magnitude : 0;
    f32_bits[i] = static_cast<uint32_t>(bits >> 31 != 0 ? -magnitude : magnitude);
    marks[i] = fits ? marks[i] : mark;
  }
}

void elements_from_fixed(DType dtype, int exponent, std::span<uint32_t> values) {
  float unit = std::bit_cast<float>(static_cast<uint32_t>(127 - exponent) << 23);
  switch (dtype) {
    case DType::f16:
      f16_from_fixed(exponent, unit, values);
      break;
    case DType::bf16:
      for (uint32_t& value : values) {
        value = shifted_to_even(f32_of(value, unit), 16);
      }
      break;
    default:
      for (uint32_t& value : values) {
        value = f32_of(value, unit);
      }
  }
}

}  // namespace sluice::codec
