// Constants and tables of the `progressive` encoding (FORMAT.md, "Scales" and "Rotation"). Part of
// the format. Private to codec/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::codec {

inline constexpr size_t kScales = 32;
inline constexpr int kSymbolZero = 15;            // code of the symbol 0; -15 has code 0
inline constexpr int kQuantisedMax = 4095;        // either sign
inline constexpr uint32_t kEscapeBits = 13;       // of a quantised value as it is
inline constexpr int kCoefficientsOfAStep = 8;    // a coefficient of 1 is an eighth of a step
inline constexpr uint32_t kRoundingUp = 27525;    // 0.42 of a step, in 1/65536
inline constexpr uint32_t kEnergyMax = 1u << 25;  // of a token: sum of squared quantised values

// One width of channels: a normal distribution of 0.08 x 1.2^scale steps.
struct ScaleModel {
  uint8_t low_bits;                      // of a quantised value, which travel as they are
  std::array<int8_t, 4> offsets;         // eighths of a step towards zero, by min(|q|, 3)
  std::array<uint16_t, 32> frequencies;  // in 1/4096, by code: symbol + 15, or 31 for the escape
};

extern const std::array<ScaleModel, kScales> kScaleModels;

// sin(pi/2 x f) = f (k0 + k1 f^2 + ... + k4 f^8), in 1/2^30.
extern const std::array<int32_t, 5> kSine;

}  // namespace sluice::codec
