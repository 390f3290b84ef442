// What coding with a ScaleModel needs, derived from the ROM once. Private to codec/.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>

#include "codec/lanes.h"
#include "codec/progressive_rom.h"

namespace sluice::codec {

using ScaleModels = std::array<ScaleModel, kScales>;

struct CodingTables {
  std::array<std::array<SymbolRange, 32>, kScales> ranges;
  std::array<DecodeTable, kScales> by_slot;  // 136 KiB, of which a page uses a few

  explicit CodingTables(const ScaleModels& models);
};

// Of kScaleModels and of kResidualModels.
const CodingTables& value_tables();
const CodingTables& residual_tables();

// What values cost in 1/128 bit, escapes with their bits; beyond kCountedMax all are escapes.
inline constexpr int16_t kCountedMax = 128;

// Corrections of a first row that an encoder tries: -4 to 3.
inline constexpr int kCorrectionMin = -4;
using CorrectionCosts = std::array<uint64_t, 8>;

using CostRow = std::array<uint16_t, kScales + 8>;  // by scale + correction - kCorrectionMin

const std::array<CostRow, 2 * kCountedMax + 1>& value_costs();  // by value + kCountedMax

// Of refinements -1, 0, 1, whose codes are 0, 1, 2.
inline constexpr size_t kSizes = 4;  // of coarser values: 0, 1, 2, 3 and more

struct RefinementTables {
  std::array<std::array<std::array<SymbolRange, 3>, kSizes>, kScales> ranges;
  std::array<std::array<DecodeTable, kSizes>, kScales> by_slot;

  RefinementTables();
};

const RefinementTables& refinement_tables();

inline size_t size_class(int coarser) {
  return std::min<size_t>(static_cast<size_t>(std::abs(coarser)), kSizes - 1);
}

// The code of a value's symbol; kEscapeCode where the model has none.
inline uint8_t code_of(const ScaleModel& model, int value) {
  int code = (value >> model.low_bits) + kSymbolZero;
  bool known = code >= 0 && code < kEscapeCode && model.frequencies[static_cast<size_t>(code)] != 0;
  return known ? static_cast<uint8_t>(code) : kEscapeCode;
}

// What a value costs in 1/128 bit.
inline uint32_t cost_of_value(const ScaleModel& model, int value, uint32_t escape_bits) {
  uint8_t code = code_of(model, value);
  uint32_t bits = code == kEscapeCode ? escape_bits : model.low_bits;
  return cost_of(model.frequencies[code]) + 128 * bits;
}

}  // namespace sluice::codec
