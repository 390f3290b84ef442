#include "src/cli/sequence.h"

#include <charconv>
#include <utility>

#include "src/cli/page_file.h"
#include "src/cli/progress.h"
#include "src/model/digest.h"

namespace sluice::cli {
namespace {

constexpr size_t kTokenFileBytesMax = 64 << 20;  // millions of tokens; a device may have no end

// The ggml numbers of the cache types that pages can hold.
Result<uint32_t> ggml_type(const std::string& name) {
  if (name == "f32") {
    return 0u;
  }
  if (name == "f16") {
    return 1u;
  }
  if (name == "bf16") {
    return 30u;
  }
  return SLUICE_ERR(Errc::invalid_argument, "--kv-type {} is none of f32, f16, bf16", name);
}

bool is_separator(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == ',' || c == '[' || c == ']';
}

// The digest of a large model takes seconds where no process has made it before.
Result<Hash32> digest_with_bar(const std::string& path, const OutputOptions& output) {
  Progress bar(output, "digest", ProgressUnit::bytes, 0);
  DigestOptions options;
  options.cache_folder = digest_cache_folder();
  options.progress = [&bar](uint64_t done_bytes, uint64_t total_bytes) {
    bar.set_total(total_bytes);
    bar.set(done_bytes, done_bytes);
  };
  return model_digest(path, options);
}

Result<client::LlamaCacheOptions> cache_options(const SequenceOptions& options) {
  client::LlamaCacheOptions out;
  SLUICE_TRY(out.llama.k_ggml_type, ggml_type(options.kv_type));
  out.llama.v_ggml_type = out.llama.k_ggml_type;
  out.llama.page_tokens = options.page_tokens;
  out.llama.flash_attention = options.file_context.flash_attention;
  out.llama.frame = options.file_context.frame;
  out.n_ctx = options.n_ctx;
  Result<Bytes> salt = from_hex(options.salt);
  if (salt.has_error()) {
    return SLUICE_ERR(Errc::invalid_argument, "--salt {}: {}", options.salt, salt.error().text);
  }
  out.salt = *std::move(salt);
  return out;
}

}  // namespace

Result<std::unique_ptr<client::Client>> open_client(const DaemonOptions& options) {
  SLUICE_TRY(auto client,
             client::Client::open({.address = options.socket,
                                   .token_file = options.token_file,
                                   .deadline_ms = options.deadline_ms}));
  const auto connected = client->requester();
  if (connected.has_error() && connected.error().code == Errc::io_error) {
    return SLUICE_ERR(
        Errc::connection_lost, "{}; `sluice doctor` says what to do", connected.error().text);
  }
  SLUICE_CHECK(connected);
  return client;
}

Status add_profiles(client::Client& client, const QualityOptions& options) {
  for (const std::string& path : options.profiles) {
    SLUICE_TRY(std::string file, read_file(path, kProfileBytesMax + 1));
    Status added = client.profiles.add(as_bytes(file));
    if (added.has_error()) {
      return SLUICE_ERR(added.error().code, "{}: {}", path, added.error().text);
    }
  }
  return {};
}

Result<std::vector<uint32_t>> parse_tokens(std::string_view text) {
  std::vector<uint32_t> out;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const char* at = begin;
  while (at != end) {
    if (is_separator(*at)) {
      ++at;
      continue;
    }
    uint32_t token = 0;
    auto [next, problem] = std::from_chars(at, end, token);
    if (problem != std::errc{} || (next != end && !is_separator(*next))) {
      return SLUICE_ERR(Errc::bad_value,
                        "token list: no token id at offset {}; expected whole numbers below 2^32 "
                        "between spaces or commas",
                        at - begin);
    }
    out.push_back(token);
    at = next;
  }
  return out;
}

Result<std::vector<uint32_t>> read_tokens(const std::string& path) {
  SLUICE_TRY(std::string text, read_file(path, kTokenFileBytesMax + 1));
  if (text.size() > kTokenFileBytesMax) {
    return SLUICE_ERR(
        Errc::too_large, "{}: a token list has at most {} bytes", path, kTokenFileBytesMax);
  }
  Result<std::vector<uint32_t>> tokens = parse_tokens(text);
  if (tokens.has_error()) {
    return SLUICE_ERR(tokens.error().code, "{}: {}", path, tokens.error().text);
  }
  return tokens;
}

Result<Sequence> open_sequence(const SequenceOptions& options, const OutputOptions& output) {
  if (options.model.empty() || options.tokens.empty()) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "--model and --tokens are needed: the GGUF file, and the file of token ids");
  }
  SLUICE_TRY(std::vector<uint32_t> tokens, read_tokens(options.tokens));
  return open_context(options, std::move(tokens), output);
}

Result<Sequence> open_context(const SequenceOptions& options,
                              std::vector<uint32_t> tokens,
                              const OutputOptions& output) {
  SLUICE_TRY(client::LlamaCacheOptions cache, cache_options(options));
  Sequence out;
  out.tokens = std::move(tokens);
  SLUICE_TRY(out.manifest, read_manifest(options.model));
  SLUICE_TRY(out.client, open_client(options.daemon));
  SLUICE_CHECK(add_profiles(*out.client, options.quality));
  SLUICE_TRY(Hash32 digest, digest_with_bar(options.model, output));
  out.max_kl = options.quality.max_kl.value_or(0);
  if (!options.quality.level.empty()) {
    SLUICE_TRY(out.max_kl,
               client::LlamaCache::level_kl(
                   *out.client, out.manifest, digest, cache, options.quality.level));
  }
  cache.quality = {.worst_kl = options.quality.worst_kl,
                   .put_kl = out.max_kl,
                   .exact_row = options.quality.exact_row};
  SLUICE_TRY(out.cache, client::LlamaCache::open(*out.client, out.manifest, digest, cache));
  return out;
}

}  // namespace sluice::cli
