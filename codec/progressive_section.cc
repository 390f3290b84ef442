#include "codec/progressive_section.h"

#include <algorithm>
#include <cstring>

#include "codec/kernels.h"
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
          .vector_bytes = static_cast<uint32_t>(plane.width()) * dtype_bytes(plane.dtype),
          .stored = page.header.stored[slice.plane],
          .first_level = page.header.rows.front().level};
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

// Marks the sinks, and no other token.
void mark_sinks(const ProgressivePage& page, std::span<uint32_t> energies) {
  uint64_t first = page.header.first_position;
  uint64_t sinks = page.profile.sinks - std::min<uint64_t>(page.profile.sinks, first);
  auto end = energies.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(sinks, energies.size()));
  std::fill(energies.begin(), end, kEnergyMarked);
  std::fill(end, energies.end(), 0);
}

// Quantises the section; what travels exactly is put into the workspace's bytes.
ExactTokens quantise_section(const ProgressivePage& page,
                             const SectionSlice& slice,
                             const ProgressiveShape& shape,
                             ByteSpan tensors,
                             Workspace& workspace) {
  std::span<int16_t> quantised = grown(workspace.quantised, shape.values());
  workspace.energies.resize(shape.n_tokens);
  Bytes& exact = workspace.bytes;  // bits, then vectors
  exact.assign(shape.exact_bytes(), 0);
  for_each_layer(page.header.geometry, slice, 0, tensors, [&](uint32_t layer, ByteSpan elements) {
    mark_sinks(page, workspace.energies);
    quantise_layer(transform_of(page, slice, layer),
                   elements,
                   quantised.subspan(layer * shape.layer_values(), shape.layer_values()),
                   *workspace.kernels,
                   workspace.energies,
                   workspace.layer);
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
  return {.bits = ByteSpan(exact).first(shape.exact_bytes()),
          .vectors = ByteSpan(exact).subspan(shape.exact_bytes(), vectors_bytes)};
}

// The elements of one layer as `level` gives them, [channel][token] in the stored dtype.
void restore(const ProgressivePage& page,
             const SectionSlice& slice,
             const ProgressiveShape& shape,
             uint32_t layer,
             Level level,
             std::span<const int16_t> quantised,
             Workspace& workspace,
             MutByteSpan elements) {
  restore_layer(transform_of(page, slice, layer),
                level,
                scales_of(shape, layer, level, 0, workspace),
                quantised.subspan(layer * shape.layer_values(), shape.layer_values()),
                *workspace.kernels,
                workspace.layer,
                elements);
}

// What a reader of all rows but the last restores, and the source's elements where they differ:
// those of exact tokens come with the first row.
void prepare_residuals(const ProgressivePage& page,
                       const SectionSlice& slice,
                       const ProgressiveShape& shape,
                       ByteSpan tensors,
                       const ExactTokens& exact,
                       Workspace& workspace) {
  const Level level = page.header.rows[page.header.rows.size() - 2].level;
  std::span<uint16_t> restored = grown(workspace.values, shape.values());
  std::span<uint16_t> source = grown(workspace.source, shape.values());
  std::span<int16_t> quantised(workspace.quantised.data(), shape.values());
  workspace.kernels->coarsen(level, quantised, quantised.data());
  for_each_layer(page.header.geometry, slice, 0, tensors, [&](uint32_t layer, ByteSpan elements) {
    const size_t first = layer * shape.layer_values();
    restore(page,
            slice,
            shape,
            layer,
            level,
            quantised,
            workspace,
            bytes_of(restored.subspan(first, shape.layer_values())));
    gather_layer(layer_shape(page.header, slice.plane),
                 *workspace.kernels,
                 elements,
                 bytes_of(source.subspan(first, shape.layer_values())));
    for (size_t token = 0; token < shape.n_tokens; ++token) {
      for (size_t c = 0; exact.has(size_t{layer} * shape.n_tokens + token) && c < shape.channels;
           ++c) {
        source[first + c * shape.n_tokens + token] = restored[first + c * shape.n_tokens + token];
      }
    }
  });
}

// Takes the lossy rows into workspace.quantised, `level` to that of the last one. Returns what
// travels exactly. Errors: damaged.
Result<ExactTokens> decode_lossy_rows(const ProgressivePage& page,
                                      const ProgressiveShape& shape,
                                      std::span<const RowSection> rows,
                                      Level& level,
                                      Workspace& workspace) {
  std::span<int16_t> quantised = grown(workspace.quantised, shape.values());
  SLUICE_TRY(ExactTokens exact,
             decode_values(shape, rows[0].bytes, rows[0].place, quantised, workspace));
  level = shape.first_level;
  for (size_t row = 1; row < rows.size(); ++row) {
    level = page.header.rows[row].level;
    SLUICE_CHECK(decode_refinement(
        shape, level, rows[0].bytes, rows[row].bytes, rows[row].place, quantised, workspace));
  }
  return exact;
}

// Puts the source elements of a layer's exact tokens into it. `vector` is the first of these, and
// becomes the next layer's.
void put_exact_tokens(const ProgressiveShape& shape,
                      const ExactTokens& exact,
                      uint32_t layer,
                      const uint8_t*& vector,
                      MutByteSpan elements) {
  for (size_t token = 0; token < shape.n_tokens; ++token) {
    if (exact.has(size_t{layer} * shape.n_tokens + token)) {
      std::memcpy(elements.data() + token * shape.vector_bytes, vector, shape.vector_bytes);
      vector += shape.vector_bytes;
    }
  }
}

}  // namespace

std::optional<RowBytes> encode_progressive_section(const ProgressivePage& page,
                                                   const SectionSlice& slice,
                                                   ByteSpan tensors,
                                                   MutByteSpan out,
                                                   Workspace& workspace) {
  const ProgressiveShape shape = shape_of(page, slice);
  const ExactTokens exact = quantise_section(page, slice, shape, tensors, workspace);
  std::span<int16_t> quantised(workspace.quantised.data(), shape.values());
  const ByteSpan corrections = out.first(std::min(out.size(), shape.layers.size()));
  RowBytes bytes{};
  for (size_t row = 0; row < page.header.rows.size(); ++row) {
    const Level level = page.header.rows[row].level;
    if (level != Level::exact) {
      std::span<int16_t> values = grown(workspace.values_of_row, shape.values());
      workspace.kernels->coarsen(level, quantised, values.data());
      bytes[row] = row == 0 ? encode_values(shape, values, exact, out, workspace)
                            : encode_refinement(shape, level, corrections, values, out, workspace);
    } else {
      prepare_residuals(page, slice, shape, tensors, exact, workspace);
      std::span<uint16_t> restored(workspace.values.data(), shape.values());
      std::span<uint16_t> source(workspace.source.data(), shape.values());
      const Level before = page.header.rows[row - 1].level;
      bytes[row] = encode_residuals(shape, before, restored, source, out, workspace);
    }
    if (bytes[row] == 0) {
      return std::nullopt;
    }
    out = out.subspan(bytes[row]);
  }
  return bytes;
}

Status decode_progressive_section(const ProgressivePage& page,
                                  const SectionSlice& slice,
                                  uint32_t first_layer,
                                  std::span<const RowSection> rows,
                                  MutByteSpan out,
                                  Workspace& workspace) {
  const ProgressiveShape shape = shape_of(page, slice);
  // Residuals need all layers' elements at once; without them one layer stays in the first cache.
  const bool has_residuals = page.header.rows[rows.size() - 1].level == Level::exact;
  Level level{};
  SLUICE_TRY(
      ExactTokens exact,
      decode_lossy_rows(page, shape, rows.first(rows.size() - has_residuals), level, workspace));
  std::span<const int16_t> quantised(workspace.quantised.data(), shape.values());
  const size_t layer_words = shape.layer_values() * dtype_bytes(shape.stored) / sizeof(uint16_t);
  std::span<uint16_t> values =
      grown(workspace.values, (has_residuals ? slice.layers : 1) * layer_words);
  const auto layer_of = [&](uint32_t layer) {
    return bytes_of(values.subspan(has_residuals ? layer * layer_words : 0, layer_words));
  };
  const auto restore_one = [&](uint32_t layer) {
    restore(page, slice, shape, layer, level, quantised, workspace, layer_of(layer));
  };
  if (has_residuals) {
    for (uint32_t layer = 0; layer < slice.layers; ++layer) {
      restore_one(layer);
    }
    const RowSection& row = rows.back();
    SLUICE_CHECK(decode_residuals(shape, level, row.bytes, row.place, values, workspace));
  }
  const uint8_t* vector = exact.vectors.data();
  const auto put_layer = [&](uint32_t layer, MutByteSpan elements) {
    if (!has_residuals) {
      restore_one(layer);
    }
    scatter_layer(
        layer_shape(page.header, slice.plane), *workspace.kernels, layer_of(layer), elements);
    put_exact_tokens(shape, exact, layer, vector, elements);
  };
  for_each_layer(page.header.geometry, slice, first_layer, out, put_layer);
  return {};
}

}  // namespace sluice::codec
