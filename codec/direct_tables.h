// What decoding `direct` needs, derived from the ROM once. Private to codec/.
#pragma once

#include <array>
#include <cstdint>

#include "codec/direct_rom.h"
#include "codec/lanes.h"

namespace sluice::codec {

// Codes of symbols: bit 5 the coded sign, bits 4..0 the cell.
inline constexpr uint8_t kSignBit = 32;
inline constexpr uint8_t kCellMask = 31;

// The same tables as in the ROM, by slot. 51 KiB in all; pages mostly use a third of them.
const std::array<DecodeTable, kDirectTables>& direct_tables();

}  // namespace sluice::codec
