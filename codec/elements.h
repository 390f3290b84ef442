// Elements of one plane of one layer, between canonical order [token][channel] and the coder's
// [channel][token] of 16 bits, with f32 narrowed to f16 or bf16 where that loses nothing.
// Private to codec/. Pure functions; none but grown() allocates.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/kernels.h"
#include "src/base/bytes.h"
#include "src/model/geometry.h"

namespace sluice::codec {

// One layer of a plane, and the dtype that its 16-bit values have.
struct LayerShape {
  uint32_t channels = 0;
  uint32_t n_tokens = 0;
  DType dtype = DType::f16;   // f32, f16, bf16
  DType stored = DType::f16;  // the same; another only where dtype is f32
};

// Exact conversions of bit patterns; every NaN keeps its payload.
uint32_t widen_f16(uint16_t half);
uint16_t narrow_to_f16(uint32_t bits);  // exact only where widen_f16 gives `bits` back

// True if every f32 element is exactly one of `stored` (f16 or bf16), bit for bit.
bool is_exactly(DType stored, ByteSpan f32_elements);

// The first `size` values of memory that never shrinks.
template <class T>
std::span<T> grown(std::vector<T>& memory, size_t size) {
  memory.resize(std::max(memory.size(), size));
  return {memory.data(), size};
}

inline MutByteSpan bytes_of(std::span<uint16_t> values) {
  return {reinterpret_cast<uint8_t*>(values.data()), values.size_bytes()};
}

// Shape: `layer` holds n_tokens x channels elements of `dtype`; `rows` as many of `stored`,
// [channel][token].
void gather_layer(const LayerShape& shape,
                  const Kernels& kernels,
                  ByteSpan layer,
                  MutByteSpan rows);
void scatter_layer(const LayerShape& shape,
                   const Kernels& kernels,
                   ByteSpan rows,
                   MutByteSpan layer);

}  // namespace sluice::codec
