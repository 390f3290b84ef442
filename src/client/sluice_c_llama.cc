// sluice.h, "llama.cpp": sequence state blobs.
#include "src/client/abi_support.h"

using sluice::ByteSpan;
using sluice::Errc;
using sluice::Hash32;
using sluice::MutByteSpan;
using sluice::Result;
using sluice::Status;
using sluice::client::abi_guarded;
using sluice::client::abi_read_keys;
using sluice::client::abi_transfer;
using sluice::client::abi_write_keys;
using sluice::client::LlamaCache;
using sluice::client::Transfer;

namespace {

Result<sluice::client::LlamaCacheOptions> read_options(const sluice_llama_options& options) {
  sluice::client::LlamaCacheOptions out;
  if (options.flash_attention > 1) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "flash_attention is {}, expected 0 or 1 as the context was made",
                      options.flash_attention);
  }
  out.llama.flash_attention = options.flash_attention == 1;
  out.llama.k_ggml_type = options.k_ggml_type;
  out.llama.v_ggml_type = options.v_ggml_type;
  if (options.page_tokens != 0) {
    out.llama.page_tokens = options.page_tokens;
  }
  out.n_ctx = options.n_ctx;
  SLUICE_TRY(out.quality,
             sluice::client::abi_quality(options.worst_kl, options.put_kl, options.exact_row));
  if (options.salt_bytes != 0) {
    SLUICE_REQUIRE(options.salt);
    out.salt.assign(options.salt, options.salt + options.salt_bytes);
  }
  if (options.lora_digest != nullptr) {
    std::memcpy(out.lora_digest.emplace().data(), options.lora_digest, sizeof(Hash32));
  }
  return out;
}

// What load and load_keys share: `load(blob, moved)` returns the tokens restored.
template <class Load>
Status load_blob(const LlamaCache& cache,
                 Load&& load,
                 MutByteSpan blob,
                 size_t* blob_bytes,
                 sluice_transfer* out) {
  *blob_bytes = 0;
  *out = {};
  Transfer moved;
  Result<uint32_t> n_tokens = load(blob, moved);
  *out = abi_transfer(moved, n_tokens.has_value() ? *n_tokens : 0);
  if (n_tokens.has_error()) {
    return std::move(n_tokens).error();
  }
  *blob_bytes = *n_tokens == 0 ? 0 : cache.blob_bytes(*n_tokens);
  return {};
}

}  // namespace

extern "C" {

int sluice_llama_level_kl(sluice_client* client,
                          sluice_model* model,
                          const sluice_llama_options* options,
                          const char* level,
                          uint32_t* kl_out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(client);
    SLUICE_REQUIRE(model);
    SLUICE_REQUIRE(options);
    SLUICE_REQUIRE(level);
    SLUICE_REQUIRE(kl_out);
    SLUICE_TRY(auto own, read_options(*options));
    SLUICE_TRY(Hash32 digest, model->file->digest(0));
    SLUICE_TRY(*kl_out,
               LlamaCache::level_kl(*client->client, model->file->manifest(), digest, own, level));
    return {};
  });
}

int sluice_llama_open(sluice_client* client,
                      sluice_model* model,
                      const sluice_llama_options* options,
                      sluice_llama** out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(out);
    *out = nullptr;
    SLUICE_REQUIRE(client);
    SLUICE_REQUIRE(model);
    SLUICE_REQUIRE(options);
    SLUICE_TRY(auto own, read_options(*options));
    SLUICE_TRY(Hash32 digest, model->file->digest(0));
    SLUICE_TRY(auto cache, LlamaCache::open(*client->client, model->file->manifest(), digest, own));
    *out = new sluice_llama{std::move(cache)};
    return {};
  });
}

void sluice_llama_free(sluice_llama* llama) {
  delete llama;
}

uint32_t sluice_llama_encoded_kl(const sluice_llama* llama) {
  return llama == nullptr ? 0 : llama->cache->encoded_kl();
}

int sluice_llama_lookup(sluice_llama* llama,
                        const uint32_t* tokens,
                        size_t n_tokens,
                        uint32_t max_kl,
                        uint32_t* tokens_out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(llama);
    SLUICE_REQUIRE(tokens);
    SLUICE_REQUIRE(tokens_out);
    SLUICE_TRY(*tokens_out, llama->cache->lookup({tokens, n_tokens}, max_kl));
    return {};
  });
}

int sluice_llama_fit(sluice_llama* llama,
                     const uint32_t* tokens,
                     size_t n_tokens,
                     uint32_t max_kl,
                     uint64_t budget_bytes,
                     sluice_fit* out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(llama);
    SLUICE_REQUIRE(tokens);
    SLUICE_REQUIRE(out);
    SLUICE_TRY(auto fit, llama->cache->fit({tokens, n_tokens}, max_kl, budget_bytes));
    *out = sluice::client::abi_fit(fit);
    return {};
  });
}

int sluice_llama_store(sluice_llama* llama,
                       const uint32_t* tokens,
                       size_t n_tokens,
                       const uint8_t* blob,
                       size_t blob_bytes,
                       uint32_t ack,
                       sluice_transfer* out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(llama);
    SLUICE_REQUIRE(tokens);
    SLUICE_REQUIRE(blob);
    SLUICE_REQUIRE(out);
    SLUICE_TRY(auto wire_ack, sluice::client::abi_ack(ack));
    Transfer moved;
    Result<uint32_t> served =
        llama->cache->store({tokens, n_tokens}, ByteSpan(blob, blob_bytes), wire_ack, moved);
    *out = abi_transfer(moved, served.has_value() ? *served : 0);
    SLUICE_CHECK(std::move(served));
    return {};
  });
}

size_t sluice_llama_blob_bytes(const sluice_llama* llama, uint32_t n_tokens) {
  return llama == nullptr ? 0 : llama->cache->blob_bytes(n_tokens);
}

int sluice_llama_load(sluice_llama* llama,
                      const uint32_t* tokens,
                      size_t n_tokens,
                      uint32_t max_kl,
                      uint8_t* blob,
                      size_t blob_cap,
                      size_t* blob_bytes,
                      sluice_transfer* out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(llama);
    SLUICE_REQUIRE(tokens);
    SLUICE_REQUIRE(blob);
    SLUICE_REQUIRE(blob_bytes);
    SLUICE_REQUIRE(out);
    auto load = [&](MutByteSpan into, Transfer& moved) {
      return llama->cache->load({tokens, n_tokens}, max_kl, into, moved);
    };
    return load_blob(*llama->cache, load, {blob, blob_cap}, blob_bytes, out);
  });
}

int sluice_llama_load_keys(sluice_llama* llama,
                           const uint8_t* keys,
                           size_t n_keys,
                           uint32_t max_kl,
                           uint8_t* blob,
                           size_t blob_cap,
                           size_t* blob_bytes,
                           sluice_transfer* out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(llama);
    SLUICE_REQUIRE(keys);
    SLUICE_REQUIRE(blob);
    SLUICE_REQUIRE(blob_bytes);
    SLUICE_REQUIRE(out);
    std::vector<Hash32> all = abi_read_keys(keys, n_keys);
    auto load = [&](MutByteSpan into, Transfer& moved) {
      return llama->cache->load_keys(all, max_kl, into, moved);
    };
    return load_blob(*llama->cache, load, {blob, blob_cap}, blob_bytes, out);
  });
}

int sluice_llama_keys(const sluice_llama* llama,
                      const uint32_t* tokens,
                      size_t n_tokens,
                      uint8_t* keys_out,
                      size_t n_keys_cap,
                      size_t* n_keys_out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(llama);
    SLUICE_REQUIRE(tokens);
    SLUICE_REQUIRE(keys_out);
    SLUICE_REQUIRE(n_keys_out);
    return abi_write_keys(llama->cache->keys({tokens, n_tokens}), keys_out, n_keys_cap, n_keys_out);
  });
}

}  // extern "C"
