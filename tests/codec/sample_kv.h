// Made-up KV tensors for the codec's tests: the shapes of distributions, good and bad, by seed.
#pragma once

#include <cstdint>
#include <string_view>

#include "codec/codec.h"
#include "src/base/bytes.h"
#include "src/base/prng.h"
#include "src/model/geometry.h"

namespace sluice::codec {

enum class Sample {
  gaussian,  // channels with means and deviations of their own, as real KV has
  uniform_bits,
  zeros,
  constant_channels,
  alternating_signs,
  special_values,  // infinities, NaNs with payloads, denormals, both zeros
  outliers,        // gaussian, and one token a hundred times as large
  sparse,          // nine in ten elements zero
  wide_channels,   // deviations from the smallest to the largest that the dtype has
};

inline constexpr Sample kSamples[] = {Sample::gaussian,
                                      Sample::uniform_bits,
                                      Sample::zeros,
                                      Sample::constant_channels,
                                      Sample::alternating_signs,
                                      Sample::special_values,
                                      Sample::outliers,
                                      Sample::sparse,
                                      Sample::wide_channels};

// A normal variable that is good enough, on every machine the same.
double normal(Prng& prng);

// `element` rounded to nearest even in `dtype`, as a bit pattern. f32, f16 and bf16 only.
uint32_t to_bits(DType dtype, double element);

// A page's tensors in canonical order. Planes of 1-byte dtypes are random bytes.
Bytes sample_tensors(const PageGeometry& geometry, Sample sample, uint64_t seed);

// Planes k and v of one shape.
PageGeometry kv_geometry(
    DType dtype, uint32_t layers, uint32_t n_tokens, uint32_t heads, uint32_t dim);

// Encodes a page that must encode.
Bytes encoded(const PageSpec& spec, ByteSpan tensors);

}  // namespace sluice::codec
