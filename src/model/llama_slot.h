// llama.cpp's slot files (llama_state_seq_save_file; its server's --slot-save-path): the tokens of
// a sequence, its state (llama_state.h), and what the server adds behind it.
//
//   offset  bytes      content
//   0       4          magic, 0x67677371
//   4       4          version, 4
//   8       4          words: of the token list
//   12      4 * words  token list
//   ..      ..         state, without magic and sequence id
//   ..      ..         nothing, or the server's checkpoints: "SCKP", version 1, ..
//
// A token list is the ids themselves, or as the server packs them: -1, 1, their number, the ids,
// the number of media, 0. llama.cpp takes both. Seen with build b11549. Pure functions over spans,
// any thread. Files are untrusted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/model/llama_state.h"

namespace sluice {

struct LlamaSlot {
  std::vector<uint32_t> tokens;  // from position 0
  bool packed = false;           // the token list, as the server does
  LlamaFileContext context;
  ByteSpan rest;  // of the file, from the state on
};

// Reads what does not depend on the model. Errors: truncated, bad_magic, bad_version, bad_value,
// unsupported (images or audio: their KV does not follow from token ids).
Result<LlamaSlot> read_llama_slot(ByteSpan file);

// Checks the rest of the file; the state is the first blob_bytes of `rest`. Requires: the layout
// has the slot's context. Errors: as check_llama_state; bad_value (not as many positions as tokens,
// bytes left over that are no checkpoints).
Result<LlamaState> check_llama_slot(const LlamaSlot& slot, const LlamaLayout& layout);

// All that stands before the state of these tokens.
Bytes llama_slot_front(std::span<const uint32_t> tokens, bool packed);

}  // namespace sluice
