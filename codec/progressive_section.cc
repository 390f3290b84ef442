#include "codec/progressive_section.h"

#include <algorithm>
#include <cstring>

#include "codec/progressive.h"
#include "codec/progressive_rom.h"

namespace sluice::codec {
namespace {

ProgressiveShape shape_of(const ProgressivePage& page, const SectionSlice& slice) {
  const Plane& plane = page.header.geometry.planes[slice.plane];
  return {.layers = std::span(page.profile.layers).subspan(slice.first_layer, slice.layers),
          .plane = slice.plane,
          .channels = static_cast<uint32_t>(plane.width()),
          .n_tokens = page.header.geometry.n_tokens,
          .vector_bytes = static_cast<uint32_t>(plane.width()) * dtype_bytes(plane.dtype)};
}

LayerTransform transform_of(const ProgressivePage& page,
                            const SectionSlice& slice,
                            uint32_t layer) {
  const LayerModel& model = page.profile.layers[slice.first_layer + layer];
  return {.shape = layer_shape(page.header, slice.plane),
          .plane = page.header.geometry.planes[slice.plane],
          .model = model.planes[slice.plane],
          .turns = page.turns,
          .rotation = model.rotation,
          .pairing = page.profile.pairing};
}

std::span<int16_t> coefficients_of(const ProgressiveShape& shape, Workspace& workspace) {
  workspace.coefficients.resize(std::max(workspace.coefficients.size(), shape.values()));
  return {workspace.coefficients.data(), shape.values()};
}

// Marks the sinks, and no other token.
void mark_sinks(const ProgressivePage& page, std::span<uint64_t> energies) {
  uint64_t first = page.header.first_position;
  uint64_t sinks = page.profile.sinks - std::min<uint64_t>(page.profile.sinks, first);
  auto end = energies.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(sinks, energies.size()));
  std::fill(energies.begin(), end, uint64_t{kEnergyMax} + 1);
  std::fill(end, energies.end(), 0);
}

}  // namespace

size_t encode_progressive_section(const ProgressivePage& page,
                                  const SectionSlice& slice,
                                  ByteSpan tensors,
                                  MutByteSpan out,
                                  Workspace& workspace) {
  ProgressiveShape shape = shape_of(page, slice);
  std::span<int16_t> quantised = coefficients_of(shape, workspace);
  workspace.energies.resize(shape.n_tokens);
  Bytes& exact = workspace.bytes;  // bits, then vectors
  exact.assign(shape.exact_bytes(), 0);
  for_each_layer(page.header.geometry, slice, 0, tensors, [&](uint32_t layer, ByteSpan elements) {
    mark_sinks(page, workspace.energies);
    quantise_layer(transform_of(page, slice, layer),
                   elements,
                   quantised.subspan(layer * shape.layer_values(), shape.layer_values()),
                   workspace.energies,
                   workspace.wide);
    for (size_t token = 0; token < shape.n_tokens; ++token) {
      if (workspace.energies[token] > kEnergyMax) {
        size_t bit = size_t{layer} * shape.n_tokens + token;
        exact[bit / 8] = static_cast<uint8_t>(exact[bit / 8] | 1 << bit % 8);
        ByteSpan vector = elements.subspan(token * shape.vector_bytes, shape.vector_bytes);
        exact.insert(exact.end(), vector.begin(), vector.end());
      }
    }
  });
  size_t vectors_bytes = exact.size() - shape.exact_bytes();
  exact.resize(exact.size() + kSeedBytes);  // zeros for states that no vector seeds
  ExactTokens tokens{.bits = ByteSpan(exact).first(shape.exact_bytes()),
                     .vectors = ByteSpan(exact).subspan(shape.exact_bytes(), vectors_bytes)};
  return encode_progressive(shape, quantised, tokens, out, workspace);
}

Status decode_progressive_section(const ProgressivePage& page,
                                  const SectionSlice& slice,
                                  uint32_t first_layer,
                                  ByteSpan section,
                                  const SectionPlace& place,
                                  MutByteSpan out,
                                  Workspace& workspace) {
  ProgressiveShape shape = shape_of(page, slice);
  std::span<int16_t> coefficients = coefficients_of(shape, workspace);
  SLUICE_TRY(ExactTokens exact, decode_progressive(shape, section, place, coefficients, workspace));
  const uint8_t* vector = exact.vectors.data();
  for_each_layer(
      page.header.geometry, slice, first_layer, out, [&](uint32_t layer, MutByteSpan elements) {
        restore_layer(transform_of(page, slice, layer),
                      coefficients.subspan(layer * shape.layer_values(), shape.layer_values()),
                      elements,
                      workspace.wide);
        for (size_t token = 0; token < shape.n_tokens; ++token) {
          if (exact.has(size_t{layer} * shape.n_tokens + token)) {
            std::memcpy(elements.data() + token * shape.vector_bytes, vector, shape.vector_bytes);
            vector += shape.vector_bytes;
          }
        }
      });
  return {};
}

}  // namespace sluice::codec
