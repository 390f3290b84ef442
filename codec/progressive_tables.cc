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

}  // namespace sluice::codec
