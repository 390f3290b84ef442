#include "src/client/model_file.h"

#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <utility>

namespace sluice::client {

Result<std::unique_ptr<ModelFile>> ModelFile::open(const std::string& path) {
  SLUICE_TRY(ModelManifest manifest, read_manifest(path));
  return std::unique_ptr<ModelFile>(new ModelFile(path, std::move(manifest)));
}

ModelFile::ModelFile(std::string path, ModelManifest manifest)
    : path_(std::move(path)),
      manifest_(std::move(manifest)),
      json_(manifest_.to_json()),
      thread_([this] { compute(); }) {}

ModelFile::~ModelFile() {
  cancel_ = true;
  thread_.join();
}

void ModelFile::compute() {
  // Idle priority: the engine's own threads always come first. Refused is fine.
  sched_param idle{};
  pthread_setschedparam(pthread_self(), SCHED_IDLE, &idle);
  DigestOptions options;
  options.cache_folder = digest_cache_folder();
  options.cancel = &cancel_;
  Result<Hash32> digest = model_digest(path_, options);
  std::lock_guard lock(mutex_);
  digest_ = std::move(digest);
  changed_.notify_all();
}

Result<Hash32> ModelFile::digest(uint32_t wait_ms) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(
          lock, std::chrono::milliseconds(wait_ms), [this] { return digest_.has_value(); })) {
    return SLUICE_ERR(Errc::timed_out,
                      "the digest of {} is still being computed; run without Sluice until then",
                      path_);
  }
  return *digest_;
}

}  // namespace sluice::client
