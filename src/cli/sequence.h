// What most commands are about: a token sequence of a llama.cpp context, and the daemon to ask.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "src/base/result.h"
#include "src/client/llama_cache.h"
#include "src/client/model_file.h"

namespace sluice::cli {

struct DaemonOptions {
  std::string socket;           // "": the default places
  uint32_t deadline_ms = 5000;  // of each request
};

struct SequenceOptions {
  DaemonOptions daemon;
  std::string model;   // GGUF
  std::string tokens;  // file of token ids; "-": standard input
  std::string kv_type = "f16";
  uint32_t n_ctx = 0;
  uint32_t page_tokens = 64;
  std::string salt;  // hex
};

// Adds the options to a command.
void add_options(CLI::App& command, DaemonOptions& options);
void add_options(CLI::App& command, SequenceOptions& options);

// An opened sequence; its parts are destroyed in the right order.
struct Sequence {
  std::vector<uint32_t> tokens;
  std::unique_ptr<client::ModelFile> model;
  std::unique_ptr<client::Client> client;
  std::unique_ptr<client::LlamaCache> cache;
};

// Reads model and tokens, connects, opens the spaces; waits for the model's digest.
// Errors: io_error, bad_value, as client::Client::open and client::LlamaCache::open.
Result<Sequence> open_sequence(const SequenceOptions& options);

// Whole numbers between white space or commas. Errors: bad_value (names the offset).
Result<std::vector<uint32_t>> parse_tokens(std::string_view text);

// A file's bytes; "-" for standard input. Errors: io_error.
Result<std::string> read_file(const std::string& path);

}  // namespace sluice::cli
