// llama put, llama get: slot files of llama.cpp's server as pages, and back.
#include <fmt/core.h>

#include <algorithm>

#include "src/base/limits.h"
#include "src/base/units.h"
#include "src/cli/commands.h"
#include "src/cli/page_file.h"
#include "src/model/llama_slot.h"

namespace sluice::cli {
namespace {

// What is wrong with a file's bytes is damage; all else keeps its code.
Error of_file(const std::string& path, const Error& error) {
  const bool damage = error.code == Errc::truncated || error.code == Errc::bad_magic ||
                      error.code == Errc::bad_value;
  return SLUICE_ERR(damage ? Errc::damaged : error.code, "{}: {}", path, error.text);
}

// The slot stays valid as long as `bytes`.
Result<LlamaSlot> read_slot(const std::string& path, const std::string& bytes) {
  Result<LlamaSlot> slot = read_llama_slot(as_bytes(bytes));
  if (slot.has_error()) {
    return of_file(path, slot.error());
  }
  return slot;
}

Status need_model(const SequenceOptions& options) {
  if (options.model.empty()) {
    return SLUICE_ERR(Errc::invalid_argument, "--model is needed: the GGUF file of the server");
  }
  return {};
}

// What a slot file is to be written of, and how.
struct SlotRequest {
  std::vector<uint32_t> tokens;
  bool packed = false;
  LlamaFileContext context;
};

Result<SlotRequest> read_request(const SequenceOptions& options, const SlotOptions& slot) {
  SlotRequest out;
  if (options.tokens.empty() && slot.like.empty()) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "--tokens or --like is needed: the file of token ids, or a slot file");
  }
  if (slot.like.empty()) {
    out.context.frame = {.in_file = true, .streams = slot.streams};
    out.context.flash_attention = slot.flash_attn == "on";
  } else {
    SLUICE_TRY(std::string bytes, read_file(slot.like));
    SLUICE_TRY(LlamaSlot like, read_slot(slot.like, bytes));
    out.context = like.context;
    out.packed = like.packed;
    out.tokens = std::move(like.tokens);
  }
  if (!options.tokens.empty()) {
    SLUICE_TRY(out.tokens, read_tokens(options.tokens));
  }
  return out;
}

// Leaves of the tokens those that are there, and within a budget of bytes those that it gets.
Status choose_prefix(Sequence& sequence, std::optional<uint64_t> budget_bytes) {
  uint32_t n_tokens = 0;
  if (budget_bytes) {
    SLUICE_TRY(const client::Fit fit,
               sequence.cache->fit(sequence.tokens, kKlUnknown, *budget_bytes));
    n_tokens = fit.pages * sequence.cache->page_tokens();
    sequence.max_kl = fit.max_kl;
  } else {
    SLUICE_TRY(n_tokens, sequence.cache->lookup(sequence.tokens, sequence.max_kl));
  }
  sequence.tokens.resize(n_tokens);
  return {};
}

// Writes the file of the longest prefix that is there; returns its tokens, 0 for none.
Result<uint32_t> write_slot(const Sequence& sequence,
                            bool packed,
                            const std::string& path,
                            client::Transfer& moved) {
  std::span<const uint32_t> tokens = sequence.tokens;
  if (tokens.empty()) {
    return 0u;
  }
  // The front of a shorter prefix, where a page turns out damaged, ends where this one does.
  const size_t state_offset = llama_slot_front(tokens, packed).size();
  Bytes file(state_offset + sequence.cache->blob_bytes(static_cast<uint32_t>(tokens.size())));
  SLUICE_TRY(const uint32_t n_tokens,
             sequence.cache->load(
                 tokens, sequence.max_kl, MutByteSpan(file).subspan(state_offset), moved));
  if (n_tokens == 0) {
    return 0u;
  }
  const Bytes front = llama_slot_front(tokens.first(n_tokens), packed);
  const size_t begin = state_offset - front.size();
  std::copy(front.begin(), front.end(), file.begin() + static_cast<ptrdiff_t>(begin));
  SLUICE_CHECK(write_file(
      path, ByteSpan(file).subspan(begin, front.size() + sequence.cache->blob_bytes(n_tokens))));
  return n_tokens;
}

}  // namespace

Result<int> llama_put(const SequenceOptions& options,
                      const SlotOptions& slot,
                      const OutputOptions& output) {
  SLUICE_CHECK(need_model(options));
  SLUICE_TRY(std::string bytes, read_file(slot.file));
  SLUICE_TRY(LlamaSlot read, read_slot(slot.file, bytes));
  SequenceOptions context = options;
  context.file_context = read.context;
  SLUICE_TRY(Sequence sequence, open_context(context, read.tokens, output));
  Result<LlamaState> state = check_llama_slot(read, sequence.cache->layout());
  if (state.has_error()) {
    return of_file(slot.file, state.error());
  }
  client::Transfer moved;
  const auto ack = slot.durable ? transport::Ack::disk : transport::Ack::ram;
  SLUICE_TRY(
      uint32_t n_tokens,
      sequence.cache->store(sequence.tokens, read.rest.first(state->blob_bytes), ack, moved));
  SLUICE_TRY(uint32_t there, sequence.cache->lookup(sequence.tokens, sequence.cache->encoded_kl()));
  if (output.json) {
    print_document({{"tokens", sequence.tokens.size()},
                    {"tokens_there", there},
                    {"pages", moved.pages},
                    {"kept", moved.pages_kept},
                    {"bytes", moved.stored_bytes},
                    {"file_bytes", bytes.size()},
                    {"flash_attention", read.context.flash_attention},
                    {"streams", read.context.frame.streams}});
  } else {
    fmt::print("{} pages put ({}), {} were there already; {} of {} tokens can be restored\n",
               moved.pages,
               format_bytes(moved.stored_bytes),
               moved.pages_kept,
               there,
               sequence.tokens.size());
  }
  return there > 0 && there >= n_tokens ? 0 : 1;
}

Result<int> llama_get(const SequenceOptions& options,
                      const SlotOptions& slot,
                      const OutputOptions& output) {
  SLUICE_CHECK(need_model(options));
  SLUICE_TRY(SlotRequest request, read_request(options, slot));
  SequenceOptions context = options;
  context.file_context = request.context;
  context.quality.worst_kl = kKlUnknown;  // whoever puts the file back says what it is
  SLUICE_TRY(Sequence sequence, open_context(context, std::move(request.tokens), output));
  const size_t asked = sequence.tokens.size();
  SLUICE_CHECK(choose_prefix(sequence, options.quality.bytes));
  client::Transfer moved;
  SLUICE_TRY(uint32_t n_tokens, write_slot(sequence, request.packed, slot.file, moved));
  const std::string& reason = sequence.client->miss_reason;
  if (output.json) {
    print_document({{"tokens", asked},
                    {"tokens_there", n_tokens},
                    {"pages", moved.pages},
                    {"pages_damaged", moved.pages_damaged},
                    {"bytes", moved.stored_bytes},
                    {"miss_reason", reason}});
  } else {
    fmt::print("{} of {} tokens {}\n",
               n_tokens,
               asked,
               n_tokens == 0 ? "are there; no file was written" : "are in " + slot.file);
    if (!reason.empty()) {
      fmt::print("why none: {}\n", reason);
    }
  }
  return n_tokens > 0 ? 0 : 1;
}

}  // namespace sluice::cli
