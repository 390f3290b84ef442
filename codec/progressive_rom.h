// Constants and tables of the `progressive` encoding (FORMAT.md, "Scales", "Refinements",
// "Residuals" and "Rotation"). Part of the format. Private to codec/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::codec {

inline constexpr size_t kScales = 32;
inline constexpr int kScalesALevel = 6;           // 1.2^6 is a step's third, nearly
inline constexpr int kSymbolZero = 15;            // code of the symbol 0; -15 has code 0
inline constexpr int kQuantisedMax = 4095;        // either sign
inline constexpr uint32_t kEscapeBits = 13;       // of a quantised value as it is
inline constexpr uint32_t kStepBitsMin = 3;       // a step of q1 is 2^3..2^7 coefficients
inline constexpr uint32_t kRoundingUp = 27525;    // 0.42 of a step, in 1/65536
inline constexpr uint32_t kEnergyMax = 1u << 29;  // of a token: sum of squared coefficients

// What codes values of one width: a normal distribution.
struct ScaleModel {
  uint8_t low_bits;                      // of a value, which travel as they are
  std::array<uint16_t, 32> frequencies;  // in 1/4096, by code: symbol + 15, or 31 for the escape
};

// Of quantised values of the first row: deviation 0.08 x 1.2^scale steps.
extern const std::array<ScaleModel, kScales> kScaleModels;
// Of residuals: deviation 0.15 x 2^(scale / 2) cells.
extern const std::array<ScaleModel, kScales> kResidualModels;
// Eighths of a step towards zero, by level (q1 first), scale and min(|q|, 3) - 1.
extern const std::array<std::array<std::array<int8_t, 3>, kScales>, 3> kOffsets;
// Of the refinements -1, 0 and 1 in 1/4096, by scale and size of the coarser value, 3 and more
// being one.
extern const std::array<std::array<std::array<uint16_t, 3>, 4>, kScales> kRefinements;

// sin(pi/2 x f) = f (k0 + k1 f^2 + ... + k4 f^8), in 1/2^30.
extern const std::array<int32_t, 5> kSine;

}  // namespace sluice::codec
