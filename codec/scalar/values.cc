// The oracle's way between quantised components and elements (FORMAT.md, "Values" and "Rotation").
#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>

#include "codec/elements.h"
#include "codec/fixed_point.h"
#include "codec/progressive_rom.h"
#include "codec/rotation.h"
#include "codec/scalar/scalar.h"
#include "src/base/bytes.h"

namespace sluice::codec::scalar {
namespace {

constexpr size_t kBlockTokens = 32;  // pages have a multiple

using Block = std::array<int32_t, kBlockTokens>;

Block scaled_up(const ChannelModel& model, const int16_t* coefficients) {
  int32_t mantissa = model.mantissa;
  int32_t half = 1 << (model.shift - 1);
  Block values;
  for (size_t token = 0; token < kBlockTokens; ++token) {
    values[token] = ((coefficients[token] * mantissa + half) >> model.shift) + model.mean;
  }
  return values;
}

void store_elements(const ElementFormat& format, const Block& values, uint8_t* elements) {
  std::array<uint32_t, kBlockTokens> bits;
  std::copy(values.begin(), values.end(), bits.begin());
  elements_from_fixed(format.dtype, format.exponent, bits);
  for (size_t token = 0; token < kBlockTokens; ++token) {
    if (format.dtype == DType::f32) {
      store_le(elements + 4 * token, bits[token]);
    } else {
      store_le(elements + 2 * token, static_cast<uint16_t>(bits[token]));
    }
  }
}

uint32_t f32_of(const ElementFormat& format, const uint8_t* elements, size_t token) {
  switch (format.dtype) {
    case DType::bf16:
      return uint32_t{load_le<uint16_t>(elements + 2 * token)} << 16;
    case DType::f16:
      return widen_f16(load_le<uint16_t>(elements + 2 * token));
    default:
      return load_le<uint32_t>(elements + 4 * token);
  }
}

Block fixed(const ElementFormat& format, const uint8_t* elements, uint32_t* energies) {
  std::array<uint32_t, kBlockTokens> values;
  for (size_t token = 0; token < kBlockTokens; ++token) {
    values[token] = f32_of(format, elements, token);
  }
  fixed_from_f32(format.exponent, values, kEnergyMarked, {energies, kBlockTokens});
  Block out;
  std::copy(values.begin(), values.end(), out.begin());
  return out;
}

// Values less their mean, in coefficients.
void scale_down(const ChannelModel& model,
                const Block& values,
                int16_t* coefficients,
                uint32_t* energies) {
  // A coefficient of 1 is mantissa / 2^shift, so a quotient is a product with 2^45 / mantissa.
  uint64_t inverse = (uint64_t{1} << 45) / model.mantissa;
  uint32_t down = 45u - model.shift;  // 15 to 37
  uint64_t half = uint64_t{1} << (down - 1);
  for (size_t token = 0; token < kBlockTokens; ++token) {
    int32_t difference = values[token] - model.mean;
    auto magnitude = static_cast<uint32_t>(std::abs(difference));
    uint64_t scaled = (magnitude * inverse + half) >> down;
    bool fits = scaled <= static_cast<uint64_t>(std::numeric_limits<int16_t>::max());
    auto size = static_cast<int32_t>(fits ? scaled : 0);
    coefficients[token] = static_cast<int16_t>(difference < 0 ? -size : size);
    uint32_t energy = fits ? static_cast<uint32_t>(size * size) : kEnergyMarked;
    energies[token] = std::min(energies[token] + energy, kEnergyMarked);
  }
}

// By thirds.
int coarsened(int quantised, Level level) {
  int size = quantised < 0 ? -quantised : quantised;
  for (auto times = static_cast<int>(level); times > 1; --times) {
    size = (size + 1) / 3;
  }
  return quantised < 0 ? -size : size;
}

// floor(|coefficient| / step + 0.42), with the sign of the coefficient. Under a basis that is not
// orthonormal a component can be 2^15, in steps of 8 one too many for an escape.
int16_t quantised_of(int16_t coefficient, uint32_t step_bits) {
  uint32_t rounding = kRoundingUp >> (16 - step_bits);
  auto size = static_cast<uint32_t>(std::abs(int{coefficient}));
  int q = std::min(static_cast<int>((size + rounding) >> step_bits), kQuantisedMax);
  return static_cast<int16_t>(coefficient < 0 ? -q : q);
}

}  // namespace

// What a component's quantised values of a level stand for, in coefficients modulo 2^16.
void place_in_steps(const StepPlace& place,
                    uint8_t scale,
                    std::span<const int16_t> quantised,
                    int16_t* coefficients) {
  auto index = static_cast<size_t>(place.level) - 1;
  const auto& offsets = kOffsets[index][scale];
  int eighth = 1 << (place.step_bits - 3);
  for (size_t i = 0; i < index; ++i) {
    eighth *= 3;
  }
  for (size_t token = 0; token < quantised.size(); ++token) {
    int size = std::abs(int{quantised[token]});
    int eighths = size == 0 ? 0 : 8 * size - offsets[static_cast<size_t>(std::min(size, 3) - 1)];
    int coefficient = eighths * eighth;
    coefficients[token] = static_cast<int16_t>(quantised[token] < 0 ? -coefficient : coefficient);
  }
}

void restore_channel(const ElementFormat& format,
                     const ChannelModel& model,
                     std::span<const int16_t> coefficients,
                     uint8_t* elements) {
  for (size_t token = 0; token < coefficients.size(); token += kBlockTokens) {
    store_elements(format,
                   scaled_up(model, coefficients.data() + token),
                   elements + token * dtype_bytes(format.dtype));
  }
}

void restore_pair(const ElementFormat& format,
                  const ChannelModel& first_model,
                  const ChannelModel& second_model,
                  std::span<const int32_t> cosines,
                  std::span<const int32_t> sines,
                  const int16_t* first_coefficients,
                  const int16_t* second_coefficients,
                  uint8_t* first_elements,
                  uint8_t* second_elements) {
  for (size_t token = 0; token < cosines.size(); token += kBlockTokens) {
    Block first = scaled_up(first_model, first_coefficients + token);
    Block second = scaled_up(second_model, second_coefficients + token);
    rotate(cosines.subspan(token, kBlockTokens), sines.subspan(token, kBlockTokens), first, second);
    store_elements(format, first, first_elements + token * dtype_bytes(format.dtype));
    store_elements(format, second, second_elements + token * dtype_bytes(format.dtype));
  }
}

void fix_channel(const ElementFormat& format,
                 const ChannelModel& model,
                 size_t n_tokens,
                 const uint8_t* elements,
                 int16_t* coefficients,
                 uint32_t* energies) {
  for (size_t token = 0; token < n_tokens; token += kBlockTokens) {
    const uint8_t* from = elements + token * dtype_bytes(format.dtype);
    scale_down(
        model, fixed(format, from, energies + token), coefficients + token, energies + token);
  }
}

void fix_pair(const ElementFormat& format,
              const ChannelModel& first_model,
              const ChannelModel& second_model,
              std::span<const int32_t> cosines,
              std::span<const int32_t> sines,
              const uint8_t* first_elements,
              const uint8_t* second_elements,
              int16_t* first_coefficients,
              int16_t* second_coefficients,
              uint32_t* energies) {
  for (size_t token = 0; token < cosines.size(); token += kBlockTokens, energies += kBlockTokens) {
    const size_t at = token * dtype_bytes(format.dtype);
    Block first = fixed(format, first_elements + at, energies);
    Block second = fixed(format, second_elements + at, energies);
    unrotate(
        cosines.subspan(token, kBlockTokens), sines.subspan(token, kBlockTokens), first, second);
    scale_down(first_model, first, first_coefficients + token, energies);
    scale_down(second_model, second, second_coefficients + token, energies);
  }
}

void quantise(uint32_t step_bits, std::span<int16_t> values) {
  for (int16_t& value : values) {
    value = quantised_of(value, step_bits);
  }
}

void coarsen(Level level, std::span<const int16_t> finest, int16_t* values) {
  for (size_t i = 0; i < finest.size(); ++i) {
    values[i] = static_cast<int16_t>(coarsened(finest[i], level));
  }
}

void transpose(const uint8_t* in, size_t rows, size_t columns, uint8_t* out) {
  constexpr size_t kTile = 16;  // x 2 bytes: half a cache line of each row
  for (size_t first = 0; first < rows; first += kTile) {
    for (size_t column = 0; column < columns; ++column) {
      for (size_t row = first; row < std::min(first + kTile, rows); ++row) {
        store_le(out + 2 * (column * rows + row),
                 load_le<uint16_t>(in + 2 * (row * columns + column)));
      }
    }
  }
}

}  // namespace sluice::codec::scalar
