// Constants and frequency tables of the `direct` encoding (FORMAT.md, "Direct"). Part of the
// format. Private to codec/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::codec {

// A cell is half an octave of magnitude: all bits of a 16-bit float but its sign and the mantissa
// below the top bit. A channel's cells are counted from `kDirectCellsBelow` below its centre.
inline constexpr int kDirectCells = 24;
inline constexpr int kDirectCellsBelow = 17;
inline constexpr int kDirectSymbols = 2 * kDirectCells + 1;  // cells x sign, then escape
inline constexpr int kDirectEscape = 2 * kDirectCells;

inline constexpr int kDirectClasses = 6;  // |mean| / sigma: 0, then octaves from 1/4 to 8
inline constexpr int kDirectTables = 2 * kDirectClasses;
inline constexpr int kDirectShapes = 2 * kDirectClasses - 1;  // class, and sign of the mean
inline constexpr int kDirectCentres = 22;  // half octaves below the layer's reference

// Tags: drop * kDirectShapes + shape, and two that stand for no table.
inline constexpr int kDirectCodedTags = kDirectCentres * kDirectShapes;
inline constexpr uint8_t kDirectTagConstant = 254;
inline constexpr uint8_t kDirectTagRaw = 255;

using DirectFrequencies = std::array<std::array<uint16_t, kDirectSymbols>, kDirectTables>;
extern const DirectFrequencies kDirectFrequencies;

}  // namespace sluice::codec
