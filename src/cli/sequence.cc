#include "src/cli/sequence.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <utility>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>

namespace sluice::cli {
namespace {

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
  return SLUICE_ERR(Errc::bad_value, "--kv-type {} is none of f32, f16, bf16", name);
}

bool is_separator(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == ',' || c == '[' || c == ']';
}

}  // namespace

void add_options(CLI::App& command, DaemonOptions& options) {
  command.add_option("--socket", options.socket, "the daemon's unix socket");
  command.add_option("--deadline-ms", options.deadline_ms, "longest wait for one request")
      ->check(CLI::Range(1, 600'000));
}

void add_options(CLI::App& command, SequenceOptions& options) {
  add_options(command, options.daemon);
  command.add_option("--model", options.model, "GGUF file of the model");
  command.add_option("--tokens", options.tokens, "file of token ids, - for standard input");
  command.add_option("--kv-type", options.kv_type, "KV cache type of the context: f16, bf16, f32");
  command.add_option("--n-ctx", options.n_ctx, "context size, for models with longrope");
  command.add_option("--page-tokens", options.page_tokens, "tokens of one page");
  command.add_option("--salt", options.salt, "user salt, hex");
}

Result<std::string> read_file(const std::string& path) {
  std::string out;
  if (path == "-") {
    out.assign(std::istreambuf_iterator<char>(std::cin), {});
    return out;
  }
  if (std::filesystem::is_directory(path)) {  // whose stream would throw
    return SLUICE_ERR(Errc::io_error, "{} is a folder, expected a file", path);
  }
  std::ifstream file(path, std::ios::binary);
  out.assign(std::istreambuf_iterator<char>(file), {});
  if (!file) {
    return SLUICE_ERR(Errc::io_error, "cannot read {}: {}", path, std::strerror(errno));
  }
  return out;
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

Result<Sequence> open_sequence(const SequenceOptions& options) {
  if (options.model.empty() || options.tokens.empty()) {
    return SLUICE_ERR(Errc::invalid_argument, "--model and --tokens are needed");
  }
  Sequence out;
  SLUICE_TRY(std::string text, read_file(options.tokens));
  SLUICE_TRY(out.tokens, parse_tokens(text));
  SLUICE_TRY(out.model, client::ModelFile::open(options.model));
  SLUICE_TRY(out.client,
             client::Client::open(
                 {.address = options.daemon.socket, .deadline_ms = options.daemon.deadline_ms}));
  SLUICE_TRY(Hash32 digest, out.model->digest(std::numeric_limits<uint32_t>::max()));
  client::LlamaCacheOptions cache;
  SLUICE_TRY(cache.llama.k_ggml_type, ggml_type(options.kv_type));
  cache.llama.v_ggml_type = cache.llama.k_ggml_type;
  cache.llama.page_tokens = options.page_tokens;
  cache.n_ctx = options.n_ctx;
  SLUICE_TRY(cache.salt, from_hex(options.salt));
  SLUICE_TRY(out.cache,
             client::LlamaCache::open(*out.client, out.model->manifest(), digest, cache));
  return out;
}

}  // namespace sluice::cli
