// A model on disk: its manifest at once, its digest from a background thread.
//
// Hashing takes seconds per GB, so a connector stays off until the digest is there rather than keep
// an engine waiting. The thread runs at the lowest priority and ends with this object.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "src/base/result.h"
#include "src/model/digest.h"
#include "src/model/manifest.h"

namespace sluice::client {

class ModelFile {
 public:
  // Reads the manifest and starts the digest. Errors: as read_manifest.
  static Result<std::unique_ptr<ModelFile>> open(const std::string& path);

  ~ModelFile();
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;

  const ModelManifest& manifest() const { return manifest_; }

  // The manifest as JSON.
  const std::string& json() const { return json_; }

  // The digest, waiting up to wait_ms for it. Any thread. Errors: timed_out (not there yet),
  // io_error (the files cannot be read).
  Result<Hash32> digest(uint32_t wait_ms);

 private:
  ModelFile(std::string path, ModelManifest manifest);

  void compute();

  std::string path_;
  ModelManifest manifest_;
  std::string json_;

  std::mutex mutex_;  // guards digest_
  std::condition_variable changed_;
  std::optional<Result<Hash32>> digest_;

  std::atomic<bool> cancel_ = false;
  std::thread thread_;  // last: it uses what stands above
};

}  // namespace sluice::client
