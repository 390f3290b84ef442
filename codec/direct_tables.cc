#include "codec/direct_tables.h"

#include "codec/direct.h"

namespace sluice::codec {
namespace {

uint32_t symbol_cost(bool is_odd, int symbol, int shape) {
  const DirectModel model = direct_model(static_cast<uint8_t>(shape), is_odd ? 1 : 0);
  if (symbol != kDirectEscape && model.flip != 0) {
    symbol = symbol < kDirectCells ? symbol + kDirectCells : symbol - kDirectCells;
  }
  return cost_of(kDirectFrequencies[model.table][static_cast<size_t>(symbol)]);
}

// Of a value in a slot, whose cell in the window of the lowest centre is slot - 1.
uint32_t value_cost(uint32_t low_bits, bool is_odd, int sign, int slot, int centre, int shape) {
  const int cell = slot - 1 - centre;
  const bool odd_centre = is_odd != (centre % 2 != 0);
  if (cell >= 0 && cell < kDirectCells && slot < kTagSlots - 1) {
    return symbol_cost(odd_centre, sign * kDirectCells + cell, shape);
  }
  return symbol_cost(odd_centre, kDirectEscape, shape) + (16 - low_bits) * kCostOfBit;
}

ValueCosts built_costs(uint32_t low_bits, bool is_odd) {
  ValueCosts costs{};
  for (int sign = 0; sign < 2; ++sign) {
    for (int slot = 0; slot < kTagSlots; ++slot) {
      auto& row = costs[static_cast<size_t>(sign)][static_cast<size_t>(slot)];
      for (int centre = 0; centre < kTagCentres; ++centre) {
        for (int shape = 0; shape < kDirectShapes; ++shape) {
          row[static_cast<size_t>(centre)][static_cast<size_t>(shape)] =
              static_cast<uint16_t>(value_cost(low_bits, is_odd, sign, slot, centre, shape));
        }
      }
    }
  }
  return costs;
}

}  // namespace

const DirectRanges& direct_ranges() {
  static const DirectRanges ranges = [] {
    DirectRanges built;
    for (size_t t = 0; t < kDirectTables; ++t) {
      uint32_t below = 0;
      for (size_t s = 0; s < kDirectSymbols; ++s) {
        built[t][s] = {kDirectFrequencies[t][s], below};
        below += kDirectFrequencies[t][s];
      }
    }
    return built;
  }();
  return ranges;
}

const ValueCosts& value_costs_of_tags(uint32_t low_bits, bool is_odd) {
  static const std::array<ValueCosts, 4> costs{
      built_costs(6, false), built_costs(6, true), built_costs(9, false), built_costs(9, true)};
  return costs[(low_bits == 9 ? 2u : 0u) + (is_odd ? 1u : 0u)];
}

const std::array<DecodeTable, kDirectTables>& direct_tables() {
  static const std::array<DecodeTable, kDirectTables> tables = [] {
    std::array<DecodeTable, kDirectTables> built;
    for (size_t t = 0; t < kDirectTables; ++t) {
      for (size_t s = 0; s < kDirectSymbols; ++s) {
        const SymbolRange& range = direct_ranges()[t][s];
        const size_t code =
            s == kDirectEscape ? kEscapeCode : s / kDirectCells * kSignBit + s % kDirectCells;
        built[t].add(static_cast<uint8_t>(code), range.frequency, range.below);
      }
    }
    return built;
  }();
  return tables;
}

}  // namespace sluice::codec
