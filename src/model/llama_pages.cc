// Copies canonical pages out of and into llama.cpp state blobs (llama_state.h).
#include <algorithm>

#include "src/model/llama_state.h"

namespace sluice {
namespace {

constexpr size_t kK = 0;  // index of the plane
constexpr size_t kV = 1;

// The part of a page that a cache holds, in tokens of the page and cells of the cache.
struct Overlap {
  uint32_t first_token = 0;
  uint32_t first_cell = 0;
  uint32_t tokens = 0;
};

Overlap overlap(const LlamaCacheState& cache, uint32_t page, uint32_t page_tokens) {
  uint64_t page_first = uint64_t{page} * page_tokens;
  uint64_t first = std::max<uint64_t>(page_first, cache.first_position);
  uint64_t end =
      std::min<uint64_t>(page_first + page_tokens, uint64_t{cache.first_position} + cache.cells);
  if (first >= end) {
    return {};
  }
  return {.first_token = static_cast<uint32_t>(first - page_first),
          .first_cell = static_cast<uint32_t>(first - cache.first_position),
          .tokens = static_cast<uint32_t>(end - first)};
}

// Calls copy(element of the blob, element of the page) for V that the blob has as [channel][cell]
// and the page as [token][channel]. Eight channels at a time: with 2,048 cells they stand 4 KiB
// apart, where more of them evict each other from an 8-way cache before they are used up.
template <class Copy>
void for_each_element(size_t tokens, size_t channels, size_t cells, Copy copy) {
  constexpr size_t kChannels = 8;
  for (size_t channel0 = 0; channel0 < channels; channel0 += kChannels) {
    size_t channel_end = std::min(channels, channel0 + kChannels);
    for (size_t token = 0; token < tokens; ++token) {
      for (size_t channel = channel0; channel < channel_end; ++channel) {
        copy(channel * cells + token, token * channels + channel);
      }
    }
  }
}

// Copies one element of two or four bytes; neither side is aligned.
template <size_t kBytes>
void copy_element(uint8_t* to, size_t to_index, const uint8_t* from, size_t from_index) {
  std::memcpy(to + to_index * kBytes, from + from_index * kBytes, kBytes);
}

struct VShape {
  uint32_t element_bytes;
  size_t tokens, channels, cells;
};

void gather_transposed(const VShape& shape, const uint8_t* blob, uint8_t* page) {
  auto run = [&](auto copy) {
    for_each_element(shape.tokens, shape.channels, shape.cells, [&](size_t b, size_t p) {
      copy(page, p, blob, b);
    });
  };
  shape.element_bytes == 4 ? run(copy_element<4>) : run(copy_element<2>);
}

void scatter_transposed(const VShape& shape, const uint8_t* page, uint8_t* blob) {
  auto run = [&](auto copy) {
    for_each_element(shape.tokens, shape.channels, shape.cells, [&](size_t b, size_t p) {
      copy(blob, b, page, p);
    });
  };
  shape.element_bytes == 4 ? run(copy_element<4>) : run(copy_element<2>);
}

// Calls copy(cache, layer slot in the cache, layer) for each layer of a group.
template <class Copy>
void for_each_layer(const LlamaLayout& layout, uint32_t group, Copy copy) {
  for (size_t c = 0; c < layout.caches.size(); ++c) {
    for (size_t slot = 0; slot < layout.caches[c].layers.size(); ++slot) {
      if (layout.caches[c].layers[slot].group == group) {
        copy(c, slot, layout.caches[c].layers[slot]);
      }
    }
  }
}

const LlamaCacheState& cache_of(const LlamaLayout& layout,
                                const LlamaState& state,
                                uint32_t group) {
  size_t found = 0;
  for_each_layer(layout, group, [&](size_t c, size_t, const LlamaLayer&) { found = c; });
  return state.caches[found];
}

Status check_page(const LlamaState& state,
                  const LlamaLayout& layout,
                  uint32_t group,
                  uint64_t blob_bytes,
                  uint64_t page_bytes) {
  if (group >= layout.groups.size() || state.caches.size() != layout.caches.size()) {
    return SLUICE_ERR(
        Errc::invalid_argument, "llama.cpp state: group {} of {}", group, layout.groups.size());
  }
  if (blob_bytes != state.blob_bytes || page_bytes != layout.groups[group].bytes()) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "llama.cpp state: blob of {} bytes and page of {}, expected {} and {}",
                      blob_bytes,
                      page_bytes,
                      state.blob_bytes,
                      layout.groups[group].bytes());
  }
  return {};
}

}  // namespace

PageRange llama_pages(const LlamaState& state, const LlamaLayout& layout, uint32_t group) {
  uint32_t page_tokens = layout.groups[group].n_tokens;
  const LlamaCacheState& cache = cache_of(layout, state, group);
  uint32_t first = (cache.first_position + page_tokens - 1) / page_tokens;
  uint32_t end = (cache.first_position + cache.cells) / page_tokens;
  return {.first = first, .count = end - std::min(first, end)};
}

Status gather_llama_page(ByteSpan blob,
                         const LlamaState& state,
                         const LlamaLayout& layout,
                         uint32_t group,
                         uint32_t page,
                         MutByteSpan out) {
  SLUICE_CHECK(check_page(state, layout, group, blob.size(), out.size()));
  PageRange whole = llama_pages(state, layout, group);
  if (page < whole.first || page - whole.first >= whole.count) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "llama.cpp state: page {} of group {}, whole are {} from {}",
                      page,
                      group,
                      whole.count,
                      whole.first);
  }
  const PageGeometry& shape = layout.groups[group];
  for_each_layer(layout, group, [&](size_t c, size_t slot, const LlamaLayer& layer) {
    const LlamaCacheState& cache = state.caches[c];
    uint32_t cell = overlap(cache, page, shape.n_tokens).first_cell;
    uint64_t k_row = layout.token_bytes(layer, kK);
    std::memcpy(out.data() + shape.offset_bytes(layer.index, kK),
                blob.data() + cache.k_offset[slot] + cell * k_row,
                shape.plane_bytes(kK));
    uint8_t* v_out = out.data() + shape.offset_bytes(layer.index, kV);
    const uint8_t* v = blob.data() + cache.v_offset[slot];
    if (!layout.v_transposed) {
      std::memcpy(v_out, v + cell * layout.token_bytes(layer, kV), shape.plane_bytes(kV));
      return;
    }
    const Plane& plane = shape.planes[kV];
    uint32_t item = dtype_bytes(plane.dtype);
    gather_transposed(
        {item, shape.n_tokens, plane.width(), cache.cells}, v + uint64_t{cell} * item, v_out);
  });
  return {};
}

PageRange llama_pages_needed(const LlamaLayout& layout, uint32_t group, uint32_t n_tokens) {
  LlamaState state = plan_llama_state(layout, n_tokens);
  uint32_t page_tokens = layout.groups[group].n_tokens;
  uint32_t first = cache_of(layout, state, group).first_position / page_tokens;
  return {.first = first, .count = n_tokens / page_tokens - first};
}

Status scatter_llama_page(ByteSpan page_tensors,
                          const LlamaState& state,
                          const LlamaLayout& layout,
                          uint32_t group,
                          uint32_t page,
                          MutByteSpan blob) {
  SLUICE_CHECK(check_page(state, layout, group, blob.size(), page_tensors.size()));
  const PageGeometry& shape = layout.groups[group];
  Overlap part = overlap(cache_of(layout, state, group), page, shape.n_tokens);
  if (part.tokens == 0) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "llama.cpp state: page {} of group {} holds no token of {}",
                      page,
                      group,
                      state.n_tokens);
  }
  for_each_layer(layout, group, [&](size_t c, size_t slot, const LlamaLayer& layer) {
    const LlamaCacheState& cache = state.caches[c];
    auto copy_rows = [&](size_t plane, uint64_t offset) {
      uint64_t row = layout.token_bytes(layer, plane);
      std::memcpy(
          blob.data() + offset + part.first_cell * row,
          page_tensors.data() + shape.offset_bytes(layer.index, plane) + part.first_token * row,
          part.tokens * row);
    };
    copy_rows(kK, cache.k_offset[slot]);
    if (!layout.v_transposed) {
      copy_rows(kV, cache.v_offset[slot]);
      return;
    }
    const Plane& plane = shape.planes[kV];
    uint32_t item = dtype_bytes(plane.dtype);
    scatter_transposed({item, part.tokens, plane.width(), cache.cells},
                       page_tensors.data() + shape.offset_bytes(layer.index, kV) +
                           part.first_token * plane.width() * item,
                       blob.data() + cache.v_offset[slot] + uint64_t{part.first_cell} * item);
  });
  return {};
}

}  // namespace sluice
