// Elements as integers in units of 2^-exponent, and back (FORMAT.md, "Values").
//
// Private to codec/. The same on every machine, in every rounding mode. No allocation.
#pragma once

#include <cstdint>
#include <span>

#include "src/model/geometry.h"

namespace sluice::codec {

// `f32_bits` become the nearest integers, halves away from zero, in two's complement; one that has
// none of magnitude up to 2^23 becomes 0, and `mark` becomes the entry of `marks` beside it.
// Requires: spans of one length, exponent in -64..126.
void fixed_from_f32(int exponent,
                    std::span<uint32_t> f32_bits,
                    uint32_t mark,
                    std::span<uint32_t> marks);

// Integers, whose magnitude is below 2^24, become elements, rounded to nearest even; beyond the
// dtype's largest finite value, that one. The element's bits stand in the lower part.
// Requires: f32, f16 or bf16, exponent in -64..126.
void elements_from_fixed(DType dtype, int exponent, std::span<uint32_t> values);

}  // namespace sluice::codec
