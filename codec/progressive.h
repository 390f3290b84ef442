// The rows of one section of the `progressive` encoding: values to bytes and back (FORMAT.md,
// "Progressive").
//
// Not pages, and not what values mean (progressive_values.h). Values stand as [layer][channel]
// [token], so that the 32 lanes are 32 tokens of one component. Private to codec/. No allocation
// beyond a growing Workspace; a thread has its own Workspace.
#pragma once

#include <cstdint>
#include <span>

#include "codec/codec.h"
#include "codec/lanes.h"
#include "codec/profile.h"

namespace sluice::codec {

struct ProgressiveShape {
  std::span<const LayerModel> layers;  // of the profile: those of the section
  size_t plane = 0;
  uint32_t channels = 0;
  uint32_t n_tokens = 0;          // a multiple of 32
  uint32_t vector_bytes = 0;      // source elements of one token of one layer
  DType stored = DType::bf16;     // of the elements that residuals complete
  Level first_level = Level::q1;  // of the first row

  const PlaneModel& model(size_t layer) const { return layers[layer].planes[plane]; }

  size_t layer_values() const { return size_t{channels} * n_tokens; }

  size_t values() const { return layers.size() * layer_values(); }

  // The head of the first row's section: a correction a layer, then a bit a token.
  size_t exact_at() const { return layers.size(); }

  size_t exact_bytes() const { return layers.size() * n_tokens / 8; }

  size_t states_at() const { return exact_at() + exact_bytes(); }
};

// Which tokens of which layers travel exactly, and their elements.
struct ExactTokens {
  ByteSpan bits;     // [layer][token], a bit each, the first in the lowest
  ByteSpan vectors;  // those with their bit set, in this order

  bool has(size_t index) const { return (bits[index / 8] >> index % 8 & 1) != 0; }
};

// The scale of a component at a level, with its layer's correction.
size_t scale_at(const ProgressiveShape& shape, uint8_t scale, Level level, int correction);

// Those of all components of a layer, in the workspace.
std::span<const uint8_t> scales_of(
    const ProgressiveShape& shape, size_t layer, Level level, int correction, Workspace& workspace);

// First row. Encodes the section into `out`; returns its bytes, or 0 if it does not fit there.
// `exact` does not point into the workspace's words. Requires: shape.values() values of the first
// level, within kQuantisedMax.
size_t encode_values(const ProgressiveShape& shape,
                     std::span<const int16_t> values,
                     const ExactTokens& exact,
                     MutByteSpan out,
                     Workspace& workspace);

// Decodes a section into values of the first level; any bytes are allowed in. What is returned lies
// in the workspace's bytes. Requires: quantised.size() == shape.values(). Errors: damaged.
Result<ExactTokens> decode_values(const ProgressiveShape& shape,
                                  ByteSpan section,
                                  const SectionPlace& place,
                                  std::span<int16_t> quantised,
                                  Workspace& workspace);

// A row that takes values from the next coarser level to `level`. `corrections`: the first bytes of
// the first row's section.
size_t encode_refinement(const ProgressiveShape& shape,
                         Level level,
                         ByteSpan corrections,
                         std::span<const int16_t> values,
                         MutByteSpan out,
                         Workspace& workspace);
// In place. Errors: damaged.
Status decode_refinement(const ProgressiveShape& shape,
                         Level level,
                         ByteSpan corrections,
                         ByteSpan section,
                         const SectionPlace& place,
                         std::span<int16_t> quantised,
                         Workspace& workspace);

// The row that takes elements from what the rows before it give, the last of `level`, to the
// source's. Elements are of shape.stored, 16 bits.
size_t encode_residuals(const ProgressiveShape& shape,
                        Level level,
                        std::span<const uint16_t> restored,
                        std::span<const uint16_t> source,
                        MutByteSpan out,
                        Workspace& workspace);
// In place. Errors: damaged.
Status decode_residuals(const ProgressiveShape& shape,
                        Level level,
                        ByteSpan section,
                        const SectionPlace& place,
                        std::span<uint16_t> elements,
                        Workspace& workspace);

}  // namespace sluice::codec
