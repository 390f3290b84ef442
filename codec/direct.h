// One section of the `direct` encoding: 16-bit floats to bytes and back (FORMAT.md, "Direct").
//
// Not pages, dtypes of 4 bytes or layouts (codec.cc, elements.h). Values stand as
// [layer][channel][token], channel = head x dim + element, so that the 32 lanes are 32 tokens of
// one channel. Private to codec/. No allocation beyond a growing Workspace; a thread has its own
// Workspace.
#pragma once

#include <cstdint>
#include <span>

#include "codec/codec.h"
#include "codec/direct_rom.h"
#include "codec/lanes.h"

namespace sluice::codec {

struct DirectShape {
  uint32_t layers = 0;
  uint32_t channels = 0;
  uint32_t n_tokens = 0;       // a multiple of 32
  uint32_t mantissa_bits = 0;  // 10: f16, 7: bf16

  size_t values() const { return size_t{layers} * channels * n_tokens; }

  size_t channel_count() const { return size_t{layers} * channels; }

  // Mantissa bits below a cell, which travel as they are.
  uint32_t low_bits() const { return mantissa_bits - 1; }

  size_t references_bytes() const { return size_t{2} * layers; }

  size_t states_at() const { return references_bytes() + channel_count(); }

  // Bytes that a channel with this tag has among the raw bits.
  size_t raw_bytes(uint8_t tag) const;
};

// The head of a section.
struct DirectTags {
  ByteSpan references;  // u16 a layer
  ByteSpan tags;        // u8 a channel of every layer

  bool is_coded(size_t channel) const { return tags[channel] < kDirectCodedTags; }
};

// What a coded tag says of its channel.
struct DirectModel {
  uint32_t table = 0;
  uint32_t flip = 0;  // 1: the mean is negative, sign bits are coded inverted
  int first_cell = 0;
};

// Inline, as a short page asks for one every other step. Requires: tag < kDirectCodedTags.
inline DirectModel direct_model(uint8_t tag, uint16_t reference) {
  const int centre = reference - tag / kDirectShapes;
  const uint32_t shape = tag % kDirectShapes;
  return {.table = (shape + 1) / 2 * 2 + static_cast<uint32_t>(centre & 1),
          .flip = shape != 0 && shape % 2 == 0,
          .first_cell = centre - kDirectCellsBelow};
}

// Requires: the channel, of those of all layers, is coded.
inline DirectModel direct_model(const DirectShape& shape, const DirectTags& head, size_t channel) {
  const size_t layer = static_cast<uint32_t>(channel) / shape.channels;
  return direct_model(head.tags[channel], load_le<uint16_t>(head.references.data() + 2 * layer));
}

// Encodes the section into `out`; returns its bytes, or 0 if it does not fit there: then it is not
// smaller than what it would replace. Requires: values.size() == shape.values().
size_t encode_direct(const DirectShape& shape,
                     std::span<const uint16_t> values,
                     MutByteSpan out,
                     Workspace& workspace);

// Decodes a section; any bytes are allowed in. Requires: values.size() == shape.values().
// Errors: damaged.
Status decode_direct(const DirectShape& shape,
                     ByteSpan section,
                     const SectionPlace& place,
                     std::span<uint16_t> values,
                     Workspace& workspace);

}  // namespace sluice::codec
