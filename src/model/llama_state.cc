#include "src/model/llama_state.h"

#include <algorithm>
#include <limits>

namespace sluice {
namespace {

constexpr uint32_t kMagic = 0xaf143cd8;
constexpr uint64_t kHeadBytes = 8;         // magic, sequence id
constexpr uint64_t kCellBytes = 12;        // position, sequences, sequence id
constexpr uint64_t kTensorHeadBytes = 12;  // type and row bytes, or type, element bytes and width
constexpr size_t kK = 0;                   // index of the plane
constexpr size_t kV = 1;

const Plane& plane_of(const LlamaLayout& layout, const LlamaLayer& layer, size_t plane) {
  return layout.groups[layer.group].planes[plane];
}

Error mismatch(std::string_view field, uint64_t got, uint64_t expected) {
  return SLUICE_ERR(Errc::layout_mismatch,
                    "llama.cpp state: {} is {}, this context's is {}: another model, other cache "
                    "options or an unknown version",
                    field,
                    got,
                    expected);
}

template <class T>
Status expect(ByteReader& reader, std::string_view field, uint64_t expected) {
  SLUICE_TRY(T got, reader.read<T>(field));
  if (got != expected) {
    return mismatch(field, got, expected);
  }
  return {};
}

// The streams from `first` to before `end` must be empty.
Status expect_empty_streams(ByteReader& reader, uint32_t first, uint32_t end) {
  for (uint32_t stream = first; stream < end; ++stream) {
    SLUICE_CHECK(expect<uint32_t>(reader, "cell count of another stream", 0));
  }
  return {};
}

// Positions must follow each other without holes, each cell of one sequence alone: then cell i is
// token first + i, and tensors need no table.
Status read_cells(ByteReader& reader, const LlamaFrame& frame, LlamaCacheState& cache) {
  SLUICE_CHECK(expect<uint32_t>(reader, "n_stream", frame.streams));
  SLUICE_CHECK(expect_empty_streams(reader, 0, frame.stream()));
  SLUICE_TRY(cache.cells, reader.read<uint32_t>("cell count"));
  if (cache.cells == 0) {
    return SLUICE_ERR(Errc::bad_value, "llama.cpp state: the sequence is empty");
  }
  SLUICE_TRY(ByteSpan cells, reader.read_bytes(cache.cells * kCellBytes, "cells"));
  cache.first_position = load_le<uint32_t>(cells.data());
  uint64_t end = uint64_t{cache.first_position} + cache.cells;
  if (end > std::numeric_limits<int32_t>::max()) {
    return SLUICE_ERR(Errc::bad_value,
                      "llama.cpp state: {} cells from position {}",
                      cache.cells,
                      static_cast<int32_t>(cache.first_position));
  }
  for (uint32_t i = 0; i < cache.cells; ++i) {
    const uint8_t* cell = cells.data() + i * kCellBytes;
    uint32_t position = load_le<uint32_t>(cell);
    uint32_t sequences = load_le<uint32_t>(cell + 4);
    uint32_t sequence = load_le<uint32_t>(cell + 8);
    if (position != cache.first_position + i || sequences != 1 || sequence != frame.sequence) {
      return SLUICE_ERR(Errc::layout_mismatch,
                        "llama.cpp state: cell {} is position {} of {} sequences from {}, expected "
                        "position {} of sequence {} alone; clear the context before the prompt",
                        i,
                        static_cast<int32_t>(position),
                        sequences,
                        static_cast<int32_t>(sequence),
                        cache.first_position + i,
                        frame.sequence);
    }
  }
  return {};
}

Status read_head(ByteReader& reader, const LlamaFrame& frame) {
  SLUICE_TRY(uint32_t magic, reader.read<uint32_t>("magic"));
  if (magic != kMagic) {
    return SLUICE_ERR(
        Errc::bad_magic, "llama.cpp state: magic {:#010x}, expected {:#010x}", magic, kMagic);
  }
  return expect<uint32_t>(reader, "sequence id", frame.sequence);
}

Status read_tensors(ByteReader& reader,
                    const LlamaLayout& layout,
                    const LlamaCache& expected,
                    LlamaCacheState& cache) {
  for (const LlamaLayer& layer : expected.layers) {
    uint64_t row = layout.token_bytes(layer, kK);
    SLUICE_CHECK(expect<uint32_t>(reader, "type of K", layout.k_ggml_type));
    SLUICE_CHECK(expect<uint64_t>(reader, "row bytes of K", row));
    cache.k_offset.push_back(reader.offset());
    SLUICE_CHECK(reader.read_bytes(cache.cells * row, "K"));
  }
  for (const LlamaLayer& layer : expected.layers) {
    const Plane& v = plane_of(layout, layer, kV);
    uint64_t row = layout.token_bytes(layer, kV);
    SLUICE_CHECK(expect<uint32_t>(reader, "type of V", layout.v_ggml_type));
    if (layout.v_transposed) {
      SLUICE_CHECK(expect<uint32_t>(reader, "element bytes of V", dtype_bytes(v.dtype)));
      SLUICE_CHECK(expect<uint32_t>(reader, "width of V", v.width()));
    } else {
      SLUICE_CHECK(expect<uint64_t>(reader, "row bytes of V", row));
    }
    cache.v_offset.push_back(reader.offset());
    SLUICE_CHECK(reader.read_bytes(cache.cells * row, "V"));
  }
  return {};
}

Status read_cache(ByteReader& reader,
                  const LlamaLayout& layout,
                  const LlamaCache& expected,
                  LlamaCacheState& cache) {
  SLUICE_CHECK(read_cells(reader, layout.frame, cache));
  SLUICE_TRY(uint32_t transposed, reader.read<uint32_t>("v_trans"));
  if (transposed != (layout.v_transposed ? 1u : 0u)) {
    return SLUICE_ERR(Errc::layout_mismatch,
                      "llama.cpp state: v_trans is {}, but the space was opened with flash "
                      "attention {}; name the context's own setting, never auto",
                      transposed,
                      layout.v_transposed ? "off" : "on");
  }
  SLUICE_CHECK(expect<uint32_t>(reader, "layer count", expected.layers.size()));
  SLUICE_CHECK(expect<uint32_t>(reader, "n_rot_k (rotated cache)", 0));
  SLUICE_CHECK(expect<uint32_t>(reader, "n_rot_v (rotated cache)", 0));
  SLUICE_CHECK(read_tensors(reader, layout, expected, cache));
  return expect_empty_streams(reader, layout.frame.stream() + 1, layout.frame.streams);
}

// The full cache gives the sequence's length; a window's cache must end there and reach back far
// enough for the next token to attend to what it may.
Status check_ranges(const LlamaLayout& layout, const LlamaState& state) {
  for (size_t i = 0; i < state.caches.size(); ++i) {
    const LlamaCacheState& cache = state.caches[i];
    uint32_t window = layout.caches[i].window;
    uint32_t first_max = window == 0 ? 0 : state.n_tokens - std::min(window, state.n_tokens);
    uint32_t end = cache.first_position + cache.cells;
    if (cache.first_position > first_max || end != state.n_tokens) {
      return SLUICE_ERR(Errc::layout_mismatch,
                        "llama.cpp state: cache {} holds positions {} to {}, expected {} or before "
                        "to {}",
                        i,
                        cache.first_position,
                        end,
                        first_max,
                        state.n_tokens);
    }
  }
  return {};
}

// Writes what read_cells reads.
void write_cells(const LlamaFrame& frame, const LlamaCacheState& cache, ByteWriter& writer) {
  writer.write(frame.streams).write_zeros(frame.stream() * sizeof(uint32_t));  // streams before
  writer.write(cache.cells);
  for (uint32_t i = 0; i < cache.cells; ++i) {
    writer.write(cache.first_position + i).write(uint32_t{1}).write(frame.sequence);
  }
}

ByteWriter k_head(const LlamaLayout& layout, const LlamaLayer& layer) {
  return ByteWriter().write(layout.k_ggml_type).write(layout.token_bytes(layer, kK));
}

ByteWriter v_head(const LlamaLayout& layout, const LlamaLayer& layer) {
  const Plane& v = plane_of(layout, layer, kV);
  ByteWriter head;
  head.write(layout.v_ggml_type);
  if (layout.v_transposed) {
    return head.write(dtype_bytes(v.dtype)).write(static_cast<uint32_t>(v.width()));
  }
  return head.write(layout.token_bytes(layer, kV));
}

// Copies header bytes to an offset; returns the offset behind them.
uint64_t put(MutByteSpan out, uint64_t at, const ByteWriter& writer) {
  std::memcpy(out.data() + at, writer.bytes().data(), writer.bytes().size());
  return at + writer.bytes().size();
}

}  // namespace

Result<LlamaState> check_llama_state_front(ByteSpan bytes, const LlamaLayout& layout) {
  ByteReader reader(bytes, "llama.cpp state");
  if (!layout.frame.in_file) {
    SLUICE_CHECK(read_head(reader, layout.frame));
  }
  LlamaState state;
  for (const LlamaCache& expected : layout.caches) {
    SLUICE_CHECK(read_cache(reader, layout, expected, state.caches.emplace_back()));
  }
  state.blob_bytes = reader.offset();
  state.n_tokens = state.caches[0].first_position + state.caches[0].cells;
  SLUICE_CHECK(check_ranges(layout, state));
  return state;
}

Result<LlamaState> check_llama_state(ByteSpan blob, const LlamaLayout& layout) {
  SLUICE_TRY(LlamaState state, check_llama_state_front(blob, layout));
  if (state.blob_bytes != blob.size()) {
    return SLUICE_ERR(Errc::bad_value,
                      "llama.cpp state: {} bytes left over behind offset {}",
                      blob.size() - state.blob_bytes,
                      state.blob_bytes);
  }
  return state;
}

Result<LlamaFileContext> read_llama_file_context(ByteSpan state) {
  ByteReader reader(state, "llama.cpp state");
  LlamaFileContext out;
  out.frame.in_file = true;
  SLUICE_TRY(out.frame.streams, reader.read<uint32_t>("n_stream"));
  if (out.frame.streams == 0 || out.frame.streams > kLlamaStreamsMax) {
    return SLUICE_ERR(Errc::bad_value,
                      "llama.cpp state: n_stream is {}, expected 1 to {}",
                      out.frame.streams,
                      kLlamaStreamsMax);
  }
  uint32_t cells = 0;
  uint32_t stream = 0;
  for (; stream < out.frame.streams && cells == 0; ++stream) {
    SLUICE_TRY(cells, reader.read<uint32_t>("cell count"));
  }
  if (cells == 0) {
    return SLUICE_ERR(Errc::bad_value, "llama.cpp state: the sequence is empty");
  }
  SLUICE_TRY(ByteSpan first, reader.read_bytes(cells * kCellBytes, "cells"));
  // Where each sequence has a stream of its own, the cells must say the same (read_cells).
  out.frame.sequence = out.frame.streams == 1 ? load_le<uint32_t>(first.data() + 8) : stream - 1;
  SLUICE_TRY(uint32_t transposed, reader.read<uint32_t>("v_trans"));
  if (transposed > 1) {
    return SLUICE_ERR(Errc::bad_value, "llama.cpp state: v_trans is {}", transposed);
  }
  out.flash_attention = transposed == 0;
  return out;
}

LlamaState plan_llama_state(const LlamaLayout& layout, uint32_t n_tokens) {
  LlamaState state;
  state.n_tokens = n_tokens;
  state.blob_bytes = layout.frame.in_file ? 0 : kHeadBytes;
  uint64_t& at = state.blob_bytes;
  const LlamaFrame& frame = layout.frame;
  const uint64_t streams_before = frame.stream() * sizeof(uint32_t);
  const uint64_t streams_behind = (frame.streams - 1) * sizeof(uint32_t) - streams_before;
  for (const LlamaCache& expected : layout.caches) {
    LlamaCacheState& cache = state.caches.emplace_back();
    cache.cells = expected.window == 0 ? n_tokens : std::min(n_tokens, expected.window);
    cache.first_position = n_tokens - cache.cells;
    at += 2 * sizeof(uint32_t) + streams_before;  // n_stream, cells
    at += cache.cells * kCellBytes + 4 * sizeof(uint32_t);
    for (size_t plane : {kK, kV}) {
      for (const LlamaLayer& layer : expected.layers) {
        at += kTensorHeadBytes;
        (plane == kK ? cache.k_offset : cache.v_offset).push_back(at);
        at += cache.cells * layout.token_bytes(layer, plane);
      }
    }
    at += streams_behind;
  }
  return state;
}

uint64_t llama_blob_bytes(const LlamaLayout& layout, uint32_t n_tokens) {
  return plan_llama_state(layout, n_tokens).blob_bytes;
}

Status begin_llama_blob(const LlamaLayout& layout, const LlamaState& state, MutByteSpan out) {
  if (out.size() < state.blob_bytes) {
    return SLUICE_ERR(Errc::output_too_small,
                      "llama.cpp state: {} bytes of room, {} are needed",
                      out.size(),
                      state.blob_bytes);
  }
  const LlamaFrame& frame = layout.frame;
  uint64_t at = 0;
  if (!frame.in_file) {
    at = put(out, 0, ByteWriter().write(kMagic).write(frame.sequence));
  }
  for (size_t c = 0; c < layout.caches.size(); ++c) {
    const LlamaCacheState& cache = state.caches[c];
    const std::vector<LlamaLayer>& layers = layout.caches[c].layers;
    ByteWriter head;
    write_cells(frame, cache, head);
    head.write(uint32_t{layout.v_transposed}).write(static_cast<uint32_t>(layers.size()));
    put(out, at, head.write(uint64_t{0}));  // no rotation of K, none of V
    for (size_t i = 0; i < layers.size(); ++i) {
      put(out, cache.k_offset[i] - kTensorHeadBytes, k_head(layout, layers[i]));
      put(out, cache.v_offset[i] - kTensorHeadBytes, v_head(layout, layers[i]));
    }
    at = cache.v_offset.back() + cache.cells * layout.token_bytes(layers.back(), kV);
    for (uint32_t stream = frame.stream() + 1; stream < frame.streams; ++stream) {
      at = put(out, at, ByteWriter().write(uint32_t{0}));
    }
  }
  return {};
}

}  // namespace sluice
