// llama.cpp's sequence states through Sluice: blobs in, pages out, and back.
//
// Not llama.cpp itself: the engine calls llama_state_seq_get_data and _set_data. Belongs to one
// Client, which must outlive it; one thread at a time. Blobs and tokens stay the caller's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "src/client/space.h"
#include "src/model/llama_state.h"
#include "src/model/manifest.h"

namespace sluice::client {

struct LlamaCacheOptions {
  LlamaOptions llama;
  uint32_t n_ctx = 0;  // of the context; 0: what the model was made for
  Quality quality;
  Bytes salt;  // separates users
  std::optional<Hash32> lora_digest;
};

class LlamaCache {
 public:
  // Opens the spaces of a context, one a KV group. Errors: unsupported (layout, by name),
  // bad_value, as Space::open.
  static Result<std::unique_ptr<LlamaCache>> open(Client& client,
                                                  const ModelManifest& manifest,
                                                  const Hash32& model_digest,
                                                  const LlamaCacheOptions& options);

  // What a level costs in such a context, as ProfileSet::level_kl, of the worst group. Errors: as
  // that, unsupported (layout, by name).
  static Result<uint32_t> level_kl(const Client& client,
                                   const ModelManifest& manifest,
                                   const Hash32& model_digest,
                                   const LlamaCacheOptions& options,
                                   std::string_view level);

  // Tokens from position 0 that load() would restore, a multiple of page_tokens.
  // Errors: as a request.
  Result<uint32_t> lookup(std::span<const uint32_t> tokens, uint32_t max_kl);

  // What a load that moves no more than `budget_bytes` should ask for, in all groups together
  // (fit_bytes). Errors: as a request.
  Result<Fit> fit(std::span<const uint32_t> tokens, uint32_t max_kl, uint64_t budget_bytes);

  // Stores the full pages of tokens[0, n) out of a blob that begins with them; pages that the
  // daemon has are not sent, unless `ack` asks for the disk. Returns the tokens of these pages.
  // Errors: as check_llama_state (before anything is put), bad_value (fewer cells than tokens), as
  // Space::put. `out` counts what was moved before an error too.
  Result<uint32_t> store(std::span<const uint32_t> tokens,
                         ByteSpan blob,
                         transport::Ack ack,
                         Transfer& out);

  uint64_t blob_bytes(uint32_t n_tokens) const { return llama_blob_bytes(layout_, n_tokens); }

  // Builds the blob of the longest prefix that can be restored; returns its tokens, 0 for a miss.
  // The blob is blob_bytes() of these long. Errors: output_too_small, as a request.
  Result<uint32_t> load(std::span<const uint32_t> tokens,
                        uint32_t max_kl,
                        MutByteSpan blob,
                        Transfer& out);

  // The same for explicit keys, keys[group][page]; all or nothing. For tests and tools: what the
  // keys name is restored, whether or not it belongs together. Errors: as load();
  // invalid_argument (not the same number of keys a group).
  Result<uint32_t> load_keys(std::span<const Hash32> keys,
                             uint32_t max_kl,
                             MutByteSpan blob,
                             Transfer& out);

  // Keys of the full pages, [group][page].
  std::vector<Hash32> keys(std::span<const uint32_t> tokens) const;

  // As Space::encoded_kl, of the worst group.
  uint32_t encoded_kl() const;

  const LlamaLayout& layout() const { return layout_; }

  uint32_t page_tokens() const { return page_tokens_; }

  size_t groups() const { return spaces_.size(); }

  Space& space(size_t group) { return *spaces_[group]; }

 private:
  LlamaCache(Client& client, LlamaLayout layout) : client_(client), layout_(std::move(layout)) {}

  // What every group can serve of their first n_pages.
  Result<Served> ask(std::span<const Hash32> keys, uint32_t n_pages, uint32_t max_kl);

  // Of each group in keys[group][page].
  uint32_t pages_of(std::span<const Hash32> keys) const {
    return static_cast<uint32_t>(keys.size() / spaces_.size());
  }

  // One group's keys out of these.
  std::span<const Hash32> group_keys(std::span<const Hash32> keys, size_t group) const;
  Status store_group(size_t group,
                     std::span<const Hash32> keys,
                     PageRange pages,
                     const LlamaState& state,
                     ByteSpan blob,
                     transport::Ack ack,
                     Transfer& out);
  // Fills `blob` with n_pages pages. Returns n_pages, or the index of a page that was missing or
  // damaged: no longer prefix can be restored.
  Result<uint32_t> fill(std::span<const Hash32> keys,
                        uint32_t n_pages,
                        uint32_t max_kl,
                        MutByteSpan blob,
                        Transfer& out);

  Client& client_;
  LlamaLayout layout_;
  uint32_t page_tokens_ = 0;
  std::vector<uint32_t> windows_;               // tokens, a group; 0: full attention
  std::vector<std::unique_ptr<Space>> spaces_;  // one a group
  Bytes page_;                                  // tensors of one page
};

}  // namespace sluice::client
