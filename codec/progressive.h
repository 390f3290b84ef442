// One section of the `progressive` encoding: quantised values to bytes, and bytes to coefficients
// (FORMAT.md, "Progressive").
//
// Not pages, and not what coefficients mean (progressive_values.h). Values stand as
// [layer][channel][token], so that the 32 lanes are 32 tokens of one channel. Private to codec/. No
// allocation beyond a growing Workspace; a thread has its own Workspace.
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
  uint32_t n_tokens = 0;      // a multiple of 32
  uint32_t vector_bytes = 0;  // source elements of one token of one layer

  const std::vector<ChannelModel>& models(size_t layer) const {
    return layers[layer].planes[plane].channels;
  }

  size_t layer_values() const { return size_t{channels} * n_tokens; }

  size_t values() const { return layers.size() * layer_values(); }

  // The head of a section: a correction a layer, then a bit a token.
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

// Encodes the section into `out`; returns its bytes, or 0 if it does not fit there.
// `exact` does not point into the workspace's words. Requires: `quantised` has shape.values() of
// them, within kQuantisedMax.
size_t encode_progressive(const ProgressiveShape& shape,
                          std::span<const int16_t> quantised,
                          const ExactTokens& exact,
                          MutByteSpan out,
                          Workspace& workspace);

// Decodes a section; any bytes are allowed in. What is returned lies in the workspace's bytes.
// Requires: coefficients.size() == shape.values(). Errors: damaged.
Result<ExactTokens> decode_progressive(const ProgressiveShape& shape,
                                       ByteSpan section,
                                       const SectionPlace& place,
                                       std::span<int16_t> coefficients,
                                       Workspace& workspace);

// The table that a channel uses on a page whose layer has this correction.
size_t corrected_scale(uint8_t scale, int correction);

}  // namespace sluice::codec
