// The model digest: one SHA-256 for all the files that decide a model's KV (IDENTITY.md).
//
// No thread of its own: the caller runs it in the background. Seconds per GB, so results are shared
// by all processes of a user through a cache of small files.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "src/base/checksum.h"
#include "src/base/result.h"

namespace sluice {

struct DigestOptions {
  std::string cache_folder;                   // "": none is read or written
  const std::atomic<bool>* cancel = nullptr;  // set it from another thread to stop
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress;  // may be empty
  // A file changed so short a time ago is not cached: another write within one tick of the file
  // system's clock would not show in its times.
  uint64_t settle_ns = 2'000'000'000;
};

// ${XDG_CACHE_HOME:-~/.cache}/sluice/digests; "" without either variable.
std::string digest_cache_folder();

// The digest of a GGUF file, or of a folder's config.json and *.safetensors: SHA-256("sluice model
// 1" || for each file, sorted by name: name length u32, name, size u64, SHA-256). A damaged cache
// entry is ignored and written again. Errors: io_error (a file is missing, unreadable, or changed
// while it was read: try again), timed_out (cancelled).
Result<Hash32> model_digest(const std::string& path, const DigestOptions& options);

// The digest of a model that its operator names: SHA-256("sluice model id 1" || model_id and
// revision, each after its length u32). For models whose weights change in place, revision is their
// version.
Hash32 named_model_digest(std::string_view model_id, std::string_view revision);

}  // namespace sluice
