#include "src/model/digest.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "src/model/digest_cache.h"
#include "src/model/file_reader.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = size_t{1} << 20;

struct ModelFile {
  std::string name;  // relative to the folder
  std::string path;
  FileReader reader;
};

Result<std::vector<std::string>> file_names(const std::string& folder) {
  std::vector<std::string> names = {"config.json"};
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed)) {
    if (it->path().extension() == ".safetensors") {
      names.push_back(it->path().filename().string());
    }
  }
  if (failed || names.size() == 1) {
    return SLUICE_ERR(Errc::io_error,
                      "{}: no *.safetensors there{}{}",
                      folder,
                      failed ? ": " : "",
                      failed ? failed.message() : "");
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<ModelFile>> open_files(const std::string& path) {
  std::error_code failed;
  std::string absolute = fs::absolute(path, failed).string();
  fs::path folder = absolute;
  std::vector<std::string> names;
  if (fs::is_directory(absolute, failed)) {
    SLUICE_TRY(names, file_names(absolute));
  } else {
    names.push_back(folder.filename().string());
    folder = folder.parent_path();
  }
  std::vector<ModelFile> files;
  for (const std::string& name : names) {
    std::string file_path = (folder / name).string();
    SLUICE_TRY(FileReader reader, FileReader::open(file_path));
    files.push_back({name, std::move(file_path), std::move(reader)});
  }
  return files;
}

uint64_t now_ns() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

class Hasher {
 public:
  Hasher(const DigestOptions& options, uint64_t total_bytes)
      : options_(options), cache_(options.cache_folder), total_bytes_(total_bytes) {}

  Result<Hash32> file_digest(const ModelFile& file) {
    const FileIdentity& identity = file.reader.identity();
    if (std::optional<Hash32> known = cache_.find(file.path, identity)) {
      advance(identity.bytes);
      return *known;
    }
    SLUICE_TRY(Hash32 digest, read_all(file));
    SLUICE_TRY(FileIdentity now, file.reader.identity_now());
    if (!(now == identity)) {
      return SLUICE_ERR(Errc::io_error, "{} changed while it was read: try again", file.path);
    }
    if (std::max(identity.mtime_ns, identity.ctime_ns) + options_.settle_ns <= now_ns()) {
      cache_.store(file.path, identity, digest);
    }
    return digest;
  }

 private:
  Result<Hash32> read_all(const ModelFile& file) {
    Sha256 hash;
    Bytes buffer(kReadBytes);
    uint64_t bytes = file.reader.identity().bytes;
    for (uint64_t at = 0; at < bytes; at += kReadBytes) {
      if (options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed)) {
        return SLUICE_ERR(Errc::timed_out, "{}: cancelled at offset {}", file.path, at);
      }
      MutByteSpan part = MutByteSpan(buffer).first(std::min<uint64_t>(kReadBytes, bytes - at));
      SLUICE_CHECK(file.reader.read_at(at, part));
      hash.update(part);
      advance(part.size());
    }
    return hash.finish();
  }

  void advance(uint64_t bytes) {
    done_bytes_ += bytes;
    if (options_.progress) {
      options_.progress(done_bytes_, total_bytes_);
    }
  }

  const DigestOptions& options_;
  DigestCache cache_;
  uint64_t done_bytes_ = 0;
  uint64_t total_bytes_;
};

void hash_text(Sha256& hash, std::string_view text) {
  hash.update(ByteWriter().write(static_cast<uint32_t>(text.size())).bytes());
  hash.update(as_bytes(text));
}

}  // namespace

std::string digest_cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') {
    return std::string(cache) + "/sluice/digests";
  }
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.cache/sluice/digests" : "";
}

Result<Hash32> model_digest(const std::string& path, const DigestOptions& options) {
  SLUICE_TRY(auto files, open_files(path));
  uint64_t total_bytes = 0;
  for (const ModelFile& file : files) {
    total_bytes += file.reader.identity().bytes;
  }
  Hasher hasher(options, total_bytes);
  Sha256 hash;
  hash.update(as_bytes("sluice model 1"));
  for (const ModelFile& file : files) {
    SLUICE_TRY(Hash32 digest, hasher.file_digest(file));
    hash_text(hash, file.name);
    hash.update(ByteWriter().write(file.reader.identity().bytes).bytes()).update(digest);
  }
  return hash.finish();
}

Hash32 named_model_digest(std::string_view model_id, std::string_view revision) {
  Sha256 hash;
  hash.update(as_bytes("sluice model id 1"));
  hash_text(hash, model_id);
  hash_text(hash, revision);
  return hash.finish();
}

}  // namespace sluice
