// The oracle's way from quantised components to elements (FORMAT.md, "Values" and "Rotation").
#include <algorithm>
#include <array>
#include <cstdlib>

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
  elements_from_fixed(format.stored, format.exponent, bits);
  for (size_t token = 0; token < kBlockTokens; ++token) {
    if (format.stored == DType::f32) {
      store_le(elements + 4 * token, bits[token]);
    } else {
      store_le(elements + 2 * token, static_cast<uint16_t>(bits[token]));
    }
  }
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
                   elements + token * dtype_bytes(format.stored));
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
    store_elements(format, first, first_elements + token * dtype_bytes(format.stored));
    store_elements(format, second, second_elements + token * dtype_bytes(format.stored));
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
