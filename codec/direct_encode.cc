#include <algorithm>
#include <cstring>

#include "codec/direct.h"
#include "codec/direct_tables.h"
#include "codec/kernels.h"
#include "src/base/limits.h"

namespace sluice::codec {
namespace {

bool is_constant(std::span<const uint16_t> channel) {
  return std::all_of(
      channel.begin(), channel.end(), [&](uint16_t value) { return value == channel.front(); });
}

// The tag under which a channel takes the fewest bits. Requires: centre <= reference.
uint8_t choose_tag(const DirectShape& shape,
                   std::span<const uint16_t> channel,
                   int centre,
                   int reference,
                   const Kernels& kernels) {
  centre = std::max(centre, reference - (kDirectCentres - 1));
  TagCosts costs{};
  kernels.weigh_tags(shape, channel, centre, costs);
  // Costs above tags, so that a tie goes to the lowest. A value costs 22 bits at most, a page has
  // 4096 tokens.
  static_assert(uint64_t{kPageTokensMax} * 22 * kCostOfBit < 1u << 24);
  const uint32_t raw = shape.n_tokens * (16 - shape.low_bits()) * kCostOfBit << 8;
  uint32_t best = raw;
  for (int i = 0; i < kTagCentres; ++i) {
    const int tried = centre - 1 + i, drop = reference - tried;
    if (tried < 0 || drop < 0 || drop >= kDirectCentres) {
      continue;
    }
    const auto& of_centre = costs[static_cast<size_t>(i)];
    const auto first_tag = static_cast<uint32_t>(drop * kDirectShapes);
    for (uint32_t s = 0; s < kDirectShapes; ++s) {
      best = std::min(best, of_centre[s] << 8 | (first_tag + s));
    }
  }
  return best < raw ? static_cast<uint8_t>(best) : kDirectTagRaw;
}

// Writes a layer's reference and the tags of its channels.
void choose_tags(const DirectShape& shape,
                 std::span<const uint16_t> layer,
                 uint8_t* reference_out,
                 MutByteSpan tags,
                 const Kernels& kernels,
                 std::vector<uint16_t>& centres) {
  uint16_t reference = 0;
  centres.resize(shape.channels);
  for (size_t c = 0; c < shape.channels; ++c) {
    std::span<const uint16_t> channel = layer.subspan(c * shape.n_tokens, shape.n_tokens);
    tags[c] = is_constant(channel) ? kDirectTagConstant : kDirectTagRaw;
    if (tags[c] != kDirectTagConstant) {
      centres[c] = kernels.centre_of(channel, shape.mantissa_bits);
      reference = std::max(reference, centres[c]);
    }
  }
  store_le(reference_out, reference);
  for (size_t c = 0; c < shape.channels; ++c) {
    if (tags[c] != kDirectTagConstant) {
      tags[c] = choose_tag(
          shape, layer.subspan(c * shape.n_tokens, shape.n_tokens), centres[c], reference, kernels);
    }
  }
}

// All raw bits of the section, channel after channel.
void pack_raw_bits(const DirectShape& shape,
                   std::span<const uint16_t> values,
                   ByteSpan tags,
                   const Kernels& kernels,
                   uint8_t* out) {
  for (size_t c = 0; c < tags.size(); ++c) {
    const uint16_t* channel = values.data() + c * shape.n_tokens;
    if (tags[c] == kDirectTagConstant) {
      store_le(out, channel[0]);
    } else if (tags[c] == kDirectTagRaw) {
      std::memcpy(out, channel, shape.raw_bytes(tags[c]));
    } else {
      kernels.pack_low_bits(channel, shape.low_bits(), shape.n_tokens, out);
    }
    out += shape.raw_bytes(tags[c]);
  }
}

}  // namespace

size_t encode_direct(const DirectShape& shape,
                     std::span<const uint16_t> values,
                     MutByteSpan out,
                     Workspace& workspace) {
  if (out.size() < shape.states_at()) {
    return 0;
  }
  MutByteSpan references = out.first(shape.references_bytes());
  MutByteSpan tags = out.subspan(references.size(), shape.channel_count());
  size_t raw_bytes = 0;
  for (size_t layer = 0; layer < shape.layers; ++layer) {
    MutByteSpan layer_tags = tags.subspan(layer * shape.channels, shape.channels);
    size_t layer_values = size_t{shape.channels} * shape.n_tokens;
    choose_tags(shape,
                values.subspan(layer * layer_values, layer_values),
                references.data() + 2 * layer,
                layer_tags,
                *workspace.kernels,
                workspace.centres);
    for (uint8_t tag : layer_tags) {
      raw_bytes += shape.raw_bytes(tag);
    }
  }

  // Zeros behind the raw bits, for states that none of them seeds.
  workspace.bytes.assign(raw_bytes + kSeedBytes, 0);
  pack_raw_bits(shape, values, tags, *workspace.kernels, workspace.bytes.data());

  // A symbol and its escape emit one word each, at most.
  LaneEncoder lanes(ByteSpan(workspace.bytes).first(raw_bytes), 2 * values.size(), workspace.words);
  workspace.kernels->encode_cells(
      lanes.sink(), shape, {.references = references, .tags = tags}, values.data());
  size_t coded_bytes = lanes.write(out.subspan(shape.states_at()));
  return coded_bytes == 0 ? 0 : shape.states_at() + coded_bytes;
}

}  // namespace sluice::codec
