#include "codec/progressive_tables.h"

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
