// What coding with `direct` needs, derived from the ROM once. Private to codec/.
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

// By table and symbol of the ROM.
using DirectRanges = std::array<std::array<SymbolRange, kDirectSymbols>, kDirectTables>;
const DirectRanges& direct_ranges();

// Costs are in 1/128 bit.
inline constexpr uint32_t kCostOfBit = 128;

// What the tags of a channel cost: of the centres one below, at and one above a channel's own, by
// shape; padded to whole vectors.
inline constexpr int kTagCentres = 3;
inline constexpr size_t kTagShapes = 16;
template <class Cost>
using CostsOfTags = std::array<std::array<Cost, kTagShapes>, kTagCentres>;
using TagCosts = CostsOfTags<uint32_t>;

// What one value adds to these: by its sign and its slot, the cells that a window of one of the
// centres has, and one at either end for all that none has. 16 of them fit 16 bits.
inline constexpr int kTagSlots = kDirectCells + kTagCentres - 1 + 2;
using ValueCosts = std::array<std::array<CostsOfTags<uint16_t>, kTagSlots>, 2>;

// `is_odd`: the lowest centre.
const ValueCosts& value_costs_of_tags(uint32_t low_bits, bool is_odd);

}  // namespace sluice::codec
