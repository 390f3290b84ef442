// What most commands are about: the daemon to ask, and a token sequence of a model's context.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/cli/output.h"
#include "src/client/llama_cache.h"
#include "src/model/manifest.h"

namespace sluice::cli {

struct DaemonOptions {
  std::string socket;           // "": the default places
  std::string token_file;       // "": $SLUICE_TOKEN_FILE
  uint32_t deadline_ms = 5000;  // of each request
};

// Quality that a command asks for or stores: one of the first three, or nothing.
struct QualityOptions {
  std::optional<uint32_t> max_kl;     // micro-nats
  std::string level;                  // q3, q2, q1 or exact, as a profile says what it costs
  std::optional<uint64_t> bytes;      // the finest that fits
  std::vector<std::string> profiles;  // files
  uint32_t worst_kl = 0;              // the worst that may be loaded, or went into what is put
  bool exact_row = false;             // of a put: what gives the source back, behind the level
};

struct SequenceOptions {
  DaemonOptions daemon;
  QualityOptions quality;
  std::string model;       // GGUF
  std::string descriptor;  // file of a space's descriptor, in place of a model
  std::string tokens;      // file of token ids; "-": standard input
  std::string kv_type = "f16";
  uint32_t n_ctx = 0;
  uint32_t page_tokens = 64;
  std::string salt;               // hex
  LlamaFileContext file_context;  // of slot files
};

// An opened sequence; its parts are destroyed in the right order.
struct Sequence {
  std::vector<uint32_t> tokens;
  uint32_t max_kl = 0;  // that was asked for, of the worst group
  ModelManifest manifest;
  std::unique_ptr<client::Client> client;
  std::unique_ptr<client::LlamaCache> cache;
};

// A live connection. Errors: connection_lost (whatever keeps this user from the daemon), timed_out,
// draining, as client::Client::open.
Result<std::unique_ptr<client::Client>> open_client(const DaemonOptions& options);

// Gives the client the profiles. Errors: io_error, as client::ProfileSet::add.
Status add_profiles(client::Client& client, const QualityOptions& options);

// Reads model and tokens, connects, opens the spaces; makes the model's digest, with a bar.
// Errors: invalid_argument, io_error, bad_value, as open_client and client::LlamaCache::open.
Result<Sequence> open_sequence(const SequenceOptions& options, const OutputOptions& output);

// The same without the file of tokens. Errors: as open_sequence.
Result<Sequence> open_context(const SequenceOptions& options,
                              std::vector<uint32_t> tokens,
                              const OutputOptions& output);

// Whole numbers between white space or commas. Errors: bad_value (names the offset).
Result<std::vector<uint32_t>> parse_tokens(std::string_view text);

// The tokens of a file. Errors: io_error, bad_value, too_large.
Result<std::vector<uint32_t>> read_tokens(const std::string& path);

}  // namespace sluice::cli
