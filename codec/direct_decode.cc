#include <algorithm>
#include <cstring>

#include "codec/direct.h"
#include "codec/kernels.h"

namespace sluice::codec {
namespace {

void add_raw_bits(const DirectShape& shape,
                  ByteSpan tags,
                  const uint8_t* bits,
                  const Kernels& kernels,
                  std::span<uint16_t> values) {
  for (size_t c = 0; c < tags.size(); ++c) {
    std::span<uint16_t> channel = values.subspan(c * shape.n_tokens, shape.n_tokens);
    if (tags[c] == kDirectTagConstant) {
      std::fill(channel.begin(), channel.end(), load_le<uint16_t>(bits));
    } else if (tags[c] == kDirectTagRaw) {
      std::memcpy(channel.data(), bits, channel.size_bytes());
    } else {
      kernels.add_low_bits(bits, shape.low_bits(), shape.n_tokens, channel.data());
    }
    bits += shape.raw_bytes(tags[c]);
  }
}

}  // namespace

size_t DirectShape::raw_bytes(uint8_t tag) const {
  if (tag == kDirectTagConstant) {
    return 2;
  }
  return size_t{n_tokens} * (tag == kDirectTagRaw ? 16 : low_bits()) / 8;
}

Status decode_direct(const DirectShape& shape,
                     ByteSpan section,
                     const SectionPlace& place,
                     std::span<uint16_t> values,
                     Workspace& workspace) {
  if (section.size() < shape.states_at() + kStatesBytes) {
    return damaged_section(place, "it ends before its states do");
  }
  ByteSpan references = section.first(shape.references_bytes());
  ByteSpan tags = section.subspan(references.size(), shape.channel_count());
  size_t raw_bytes = 0;
  for (uint8_t tag : tags) {
    if (tag >= kDirectCodedTags && tag < kDirectTagConstant) {
      return damaged_section(place, "a channel has an unknown tag");
    }
    raw_bytes += shape.raw_bytes(tag);
  }
  SLUICE_TRY(LaneDecoder lanes,
             LaneDecoder::open(section, shape.states_at(), raw_bytes, place, workspace.bytes));
  if (!workspace.kernels->decode_cells(
          lanes.cursor(), shape, {.references = references, .tags = tags}, values.data())) {
    return damaged_section(place, "its words end before its symbols do");
  }
  SLUICE_TRY(ByteSpan raw, lanes.finish(place));
  add_raw_bits(shape, tags, raw.data(), *workspace.kernels, values);
  return {};
}

}  // namespace sluice::codec
