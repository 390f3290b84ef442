#include "codec/progressive_tables.h"

#include <algorithm>

namespace sluice::codec {

CodingTables::CodingTables(const ScaleModels& models) {
  for (size_t scale = 0; scale < kScales; ++scale) {
    uint32_t below = 0;
    for (uint8_t code = 0; code <= kEscapeCode; ++code) {
      uint32_t frequency = models[scale].frequencies[code];
      ranges[scale][code] = {frequency, below};
      if (frequency != 0) {
        by_slot[scale].add(code, frequency, below);
      }
      below += frequency;
    }
  }
}

const CodingTables& value_tables() {
  static const CodingTables tables(kScaleModels);
  return tables;
}

const CodingTables& residual_tables() {
  static const CodingTables tables(kResidualModels);
  return tables;
}

const std::array<CostRow, 2 * kCountedMax + 1>& value_costs() {
  static const auto costs = [] {
    std::array<CostRow, 2 * kCountedMax + 1> built;
    for (int value = -kCountedMax; value <= kCountedMax; ++value) {
      CostRow& row = built[static_cast<size_t>(value + kCountedMax)];
      for (size_t i = 0; i < row.size(); ++i) {
        const int scale =
            std::clamp(static_cast<int>(i) + kCorrectionMin, 0, static_cast<int>(kScales) - 1);
        row[i] = static_cast<uint16_t>(
            cost_of_value(kScaleModels[static_cast<size_t>(scale)], value, kEscapeBits));
      }
    }
    return built;
  }();
  return costs;
}

RefinementTables::RefinementTables() {
  for (size_t scale = 0; scale < kScales; ++scale) {
    for (size_t size = 0; size < kSizes; ++size) {
      uint32_t below = 0;
      for (uint8_t code = 0; code < 3; ++code) {
        uint32_t frequency = kRefinements[scale][size][code];
        ranges[scale][size][code] = {frequency, below};
        by_slot[scale][size].add(code, frequency, below);
        below += frequency;
      }
    }
  }
}

const RefinementTables& refinement_tables() {
  static const RefinementTables tables;
  return tables;
}

}  // namespace sluice::codec
