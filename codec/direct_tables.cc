#include "codec/direct_tables.h"

namespace sluice::codec {

const std::array<DecodeTable, kDirectTables>& direct_tables() {
  static const std::array<DecodeTable, kDirectTables> tables = [] {
    std::array<DecodeTable, kDirectTables> built;
    for (size_t t = 0; t < kDirectTables; ++t) {
      uint32_t below = 0;
      for (uint32_t s = 0; s < kDirectSymbols; ++s) {
        auto code = static_cast<uint8_t>(
            s == kDirectEscape ? kEscapeCode : s / kDirectCells * kSignBit + s % kDirectCells);
        built[t].add(code, kDirectFrequencies[t][s], below);
        below += kDirectFrequencies[t][s];
      }
    }
    return built;
  }();
  return tables;
}

}  // namespace sluice::codec
