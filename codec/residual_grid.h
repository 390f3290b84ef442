// How residuals count: elements as cells of a grid (FORMAT.md, "Symbols"). Private to codec/.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "codec/kernels.h"
#include "codec/progressive_rom.h"

namespace sluice::codec {

inline constexpr uint32_t kResidualBits = 16;   // of an escaped one
inline constexpr uint32_t kMagnitudeBits = 15;  // of an element less its sign

// The grid of one element: what 16-bit floats would be whose least exponent was `power`. Cells
// count from 0 upwards, from -1 downwards; so no sign change jumps over all small numbers, and the
// cells about zero are as wide as those of numbers of about the error's size. FORMAT.md,
// "Symbols".
struct Grid {
  uint32_t mantissa_bits;
  uint32_t power;

  int16_t cell(uint16_t bits) const {
    uint32_t magnitude = bits & 0x7fffu;
    uint32_t own = std::max(magnitude >> mantissa_bits, 1u);
    uint32_t significand = magnitude - ((own - 1) << mantissa_bits);
    uint32_t number = own >= power ? magnitude - ((power - 1) << mantissa_bits)
                                   : significand >> std::min(power - own, 31u);
    return static_cast<int16_t>((bits & 0x8000) != 0 ? ~number : number);
  }

  // Bits of the magnitude that its cell does not tell.
  uint32_t hidden_bits(int16_t of_cell) const {
    auto number = static_cast<uint32_t>(of_cell < 0 ? ~of_cell : of_cell);
    auto width = static_cast<uint32_t>(std::bit_width(number));
    if (number == 0) {
      return kMagnitudeBits;
    }
    return width > mantissa_bits ? 0 : std::min(mantissa_bits + 1 - width, power - 1);
  }

  uint16_t element(int16_t of_cell, uint32_t hidden) const {
    auto number = static_cast<uint32_t>(of_cell < 0 ? ~of_cell : of_cell);
    uint32_t magnitude = hidden;
    if (number != 0) {
      uint32_t bits = hidden_bits(of_cell);
      magnitude = (number << bits | hidden) + ((power - bits - 1) << mantissa_bits);
    }
    return static_cast<uint16_t>((magnitude & 0x7fff) | (of_cell < 0 ? 0x8000 : 0));
  }
};

// Where residuals of one channel lie.
struct ResidualChannel {
  int width = 0;        // in half octaves of cells, at power 0
  int least_power = 1;  // of its grid
  uint32_t mantissa_bits = 7;

  Grid grid(uint16_t restored) const {
    const uint32_t own = (restored & 0x7fffu) >> mantissa_bits;
    return {.mantissa_bits = mantissa_bits,
            .power = std::max(own, static_cast<uint32_t>(least_power))};
  }

  // How wide residuals are on the grid. Up to a constant, which the correction takes up.
  int width_on(const Grid& grid) const {
    return std::clamp(
        width - 2 * static_cast<int>(grid.power), -kWidthZero, kWidths - kWidthZero - 1);
  }
};

inline ResidualChannel residual_channel(const ResidualShape& shape, const ChannelModel& channel) {
  constexpr int kMiddleMantissa = 23170;  // 2^14.5
  const int bias = shape.stored == DType::f16 ? 15 : 127;
  const int mantissa_bits = shape.stored == DType::f16 ? 10 : 7;
  const int step =
      2 * (14 + static_cast<int>(shape.model.step_bits) - channel.shift - shape.model.exponent) +
      (channel.mantissa >= kMiddleMantissa ? 1 : 0);
  const int error = step + 3 * (static_cast<int>(shape.level) - 1);
  return {.width = step + 2 * (bias + mantissa_bits),
          .least_power = std::clamp((error >> 1) + bias, 1, 2 * bias),
          .mantissa_bits = static_cast<uint32_t>(mantissa_bits)};
}

inline size_t residual_scale(int width, int correction) {
  return static_cast<size_t>(std::clamp(width + correction, 0, static_cast<int>(kScales) - 1));
}

}  // namespace sluice::codec
