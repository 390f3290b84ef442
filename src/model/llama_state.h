// llama.cpp's sequence state (llama_state_seq_get_data) and canonical pages, both ways.
//
// A blob is a header a cache (one cache, or two where some layers have a window: first the full
// one, then the window's), then all K, then all V, layer by layer. It is fixed by the layout and
// the token range of each cache, so whatever does not match is refused; llama.cpp itself accepts
// trailing bytes and foreign sequence ids. A window's cache holds the last `window` tokens only.
// Seen with builds b10434 to b11549. Pure functions over spans, any thread. Blobs are untrusted; of
// canonical tensors only the length is checked.
#pragma once

#include <cstdint>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/model/geometry.h"
#include "src/model/manifest.h"

namespace sluice {

inline constexpr uint32_t kLlamaStreamsMax = 256;  // LLAMA_MAX_SEQ

// What stands around a state's tensors.
struct LlamaFrame {
  bool in_file = false;   // of llama_state_seq_save_file: without magic and sequence id in front
  uint32_t sequence = 0;  // its id in the context; of llama.cpp's server: the slot
  uint32_t streams = 1;   // of the context: one a sequence, or one for all (kv_unified)

  // The stream that holds the sequence; the others are empty.
  uint32_t stream() const { return streams == 1 ? 0 : sequence; }

  bool operator==(const LlamaFrame&) const = default;
};

// Of a llama.cpp context, as it was made.
struct LlamaOptions {
  bool flash_attention = false;  // off: V is stored transposed, [channel][cell]
  uint32_t k_ggml_type = 1;      // 0 f32, 1 f16, 30 bf16
  uint32_t v_ggml_type = 1;
  uint32_t page_tokens = 64;
  LlamaFrame frame;
};

// One transformer layer of a cache.
struct LlamaLayer {
  uint32_t group = 0;  // KV group of the manifest
  uint32_t index = 0;  // of this layer within the group

  bool operator==(const LlamaLayer&) const = default;
};

// One KV cache of a context, in the blob's order.
struct LlamaCache {
  uint32_t window = 0;  // 0: full attention
  std::vector<LlamaLayer> layers;
};

struct LlamaLayout {
  LlamaFrame frame;
  bool v_transposed = false;
  uint32_t k_ggml_type = 1;
  uint32_t v_ggml_type = 1;
  std::vector<PageGeometry> groups;  // of one page, by KV group; planes k, v with their dtypes
  std::vector<LlamaCache> caches;

  // Bytes of one token of a layer's K (plane 0) or V (plane 1).
  uint64_t token_bytes(const LlamaLayer& layer, size_t plane) const {
    const Plane& p = groups[layer.group].planes[plane];
    return p.width() * dtype_bytes(p.dtype);
  }
};

// The layout of a model's context. Errors: unsupported (a quantised cache type by its name, a
// manifest that is not of a GGUF, windows without full attention or of several lengths), bad_value
// (page_tokens, a frame whose sequence has no stream), too_large.
Result<LlamaLayout> make_llama_layout(const ModelManifest& manifest, const LlamaOptions& options);

// Tokens of one cache of a blob, and where its layers' tensors stand.
struct LlamaCacheState {
  uint32_t first_position = 0;     // 0, but for a window's cache of a longer sequence
  uint32_t cells = 0;              // positions [first_position, first_position + cells)
  std::vector<uint64_t> k_offset;  // of each layer's K, from the blob's first byte
  std::vector<uint64_t> v_offset;
};

// What check_llama_state found: it stays valid for a blob of the same bytes and its layout.
struct LlamaState {
  uint32_t n_tokens = 0;  // of the sequence, from position 0
  uint64_t blob_bytes = 0;
  std::vector<LlamaCacheState> caches;  // as in the layout
};

// Whole pages of one KV group.
struct PageRange {
  uint32_t first = 0;
  uint32_t count = 0;

  bool operator==(const PageRange&) const = default;
};

// Checks a whole blob before any of it is used: magic, sequence id, streams, positions without
// holes, one sequence a cell, V's order, types, widths, no rotation, no bytes left over.
// Errors: truncated, bad_magic, bad_value, too_large, layout_mismatch (well-formed, but of another
// context or model; the text names the field).
Result<LlamaState> check_llama_state(ByteSpan blob, const LlamaLayout& layout);

// The same for the state at the front of `bytes`: its blob_bytes say where it ends.
Result<LlamaState> check_llama_state_front(ByteSpan bytes, const LlamaLayout& layout);

// What the front of a file's state says of the context that wrote it.
struct LlamaFileContext {
  LlamaFrame frame;
  bool flash_attention = false;
};

// Reads as much of a file's state as does not depend on the model; nothing is checked that
// check_llama_state checks. Errors: truncated, bad_value (streams, empty sequence, V's order).
Result<LlamaFileContext> read_llama_file_context(ByteSpan state);

// The pages of `group` that the state holds whole: all from 0, or, for a window, those behind its
// first position. Requires: group is one of the layout's.
PageRange llama_pages(const LlamaState& state, const LlamaLayout& layout, uint32_t group);

// Copies one page out of a blob, [layer][k, v][token][head][dim]. Requires: `state` is of this blob
// and layout. Shape: `out` is groups[group].bytes() long. Errors: invalid_argument (group or page
// out of range, lengths).
Status gather_llama_page(ByteSpan blob,
                         const LlamaState& state,
                         const LlamaLayout& layout,
                         uint32_t group,
                         uint32_t page,
                         MutByteSpan out);

// The state that n_tokens tokens have: where begin_llama_blob and scatter_llama_page write.
// A window's cache holds the last min(window, n_tokens) tokens, as llama.cpp writes it.
// Requires: n_tokens from 1 to 2^31 - 1.
LlamaState plan_llama_state(const LlamaLayout& layout, uint32_t n_tokens);

// Bytes of the blob of n_tokens tokens.
uint64_t llama_blob_bytes(const LlamaLayout& layout, uint32_t n_tokens);

// The pages of `group` that a blob of n_tokens tokens is filled from; the first may begin before
// the window does. Requires: group is one of the layout's; n_tokens is a multiple of page_tokens.
PageRange llama_pages_needed(const LlamaLayout& layout, uint32_t group, uint32_t n_tokens);

// Writes all of a blob but its tensors. Shape: `out` is state.blob_bytes long or longer.
// Errors: output_too_small.
Status begin_llama_blob(const LlamaLayout& layout, const LlamaState& state, MutByteSpan out);

// Copies one canonical page into a blob; tokens that the cache does not hold are left out.
// Shape: `blob` is state.blob_bytes long, `page_tensors` groups[group].bytes().
// Errors: invalid_argument (group or page out of range, lengths).
Status scatter_llama_page(ByteSpan page_tensors,
                          const LlamaState& state,
                          const LlamaLayout& layout,
                          uint32_t group,
                          uint32_t page,
                          MutByteSpan blob);

}  // namespace sluice
