#include "src/daemon/profile_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "src/base/limits.h"
#include "src/daemon/log_value.h"
#include "src/model/file_reader.h"
#include "transport/owned_fd.h"

namespace sluice::daemon {
namespace {

namespace fs = std::filesystem;
using transport::OwnedFd;

constexpr std::string_view kSuffix = ".profile";
constexpr std::string_view kFreshSuffix = ".new";

fs::path folder_in(const std::string& disk_folder) {
  return fs::path(disk_folder) / "profiles";
}

fs::path path_of(const std::string& disk_folder, const Hash32& digest) {
  return folder_in(disk_folder) / (to_hex(digest) + std::string(kSuffix));
}

Error failed(const fs::path& path) {
  const int why = errno;
  return SLUICE_ERR(why == ENOSPC || why == EDQUOT ? Errc::no_space : Errc::io_error,
                    "cannot keep a profile as {}: {}",
                    path.string(),
                    std::strerror(why));
}

Status sync_path(const fs::path& path) {
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) {
    return failed(path);
  }
  return {};
}

Status write_durably(const fs::path& path, ByteSpan bytes) {
  ::unlink(path.c_str());  // what a process that died left, or nobody's pipe or link
  const OwnedFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd.get() < 0) {
    return failed(path);
  }
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) {
      return failed(path);
    }
    bytes = bytes.subspan(static_cast<size_t>(std::max<ssize_t>(n, 0)));
  }
  return ::fsync(fd.get()) == 0 ? Status() : Status(failed(path));
}

Result<Bytes> read_whole(const std::string& path) {
  SLUICE_TRY(FileReader file, FileReader::open(path));
  const uint64_t size = file.identity().bytes;
  if (size > kProfileBytesMax) {
    return SLUICE_ERR(
        Errc::too_large, "a file of {} bytes, a profile has at most {}", size, kProfileBytesMax);
  }
  Bytes bytes(size);
  SLUICE_CHECK(file.read_at(0, bytes));
  return bytes;
}

// A profile under the name that its bytes have.
Status read_into(cache::ProfileStore& store, const fs::path& path) {
  SLUICE_TRY(Bytes bytes, read_whole(path.string()));
  const Hash32 digest = sha256(bytes);
  if (to_hex(digest) != path.stem()) {
    return SLUICE_ERR(Errc::bad_checksum, "its bytes have the digest {}", to_hex(digest));
  }
  return store.add(digest, std::move(bytes));
}

// After a crash it is there whole, or not. The disk's folder is synced each time: a process that
// died may have made the one in it and no more.
Status write_profile(const std::string& disk_folder, const Hash32& digest, ByteSpan file) {
  const fs::path folder = folder_in(disk_folder);
  std::error_code problem;
  fs::create_directory(folder, problem);
  const fs::path path = path_of(disk_folder, digest);
  const fs::path fresh = path.string() + std::string(kFreshSuffix);
  Status written = write_durably(fresh, file);
  if (written.has_value() && ::rename(fresh.c_str(), path.c_str()) != 0) {
    written = failed(path);
  }
  if (written.has_error()) {
    ::unlink(fresh.c_str());
    return written;
  }
  SLUICE_CHECK(sync_path(folder));
  return sync_path(disk_folder);
}

// Profiles by when they were written; what a process that died was writing is removed.
Result<std::vector<fs::path>> profile_paths(const fs::path& folder) {
  std::vector<std::pair<fs::file_time_type, fs::path>> found;
  std::error_code problem;
  if (!fs::exists(folder, problem) && !problem) {
    return std::vector<fs::path>();
  }
  for (fs::directory_iterator at(folder, problem), end; !problem && at != end;
       at.increment(problem)) {
    std::error_code ignored;
    if (at->path().extension() == kSuffix && at->is_regular_file(ignored)) {
      found.emplace_back(at->last_write_time(ignored), at->path());
    } else if (at->path().extension() == kFreshSuffix) {
      fs::remove(at->path(), ignored);
    }
  }
  if (problem) {
    return SLUICE_ERR(Errc::io_error, "cannot be listed: {}", problem.message());
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> out;
  for (auto& [time, path] : found) {
    out.push_back(std::move(path));
  }
  return out;
}

void warn_of(spdlog::logger& log, const fs::path& path, const Error& error) {
  log.warn(
      "event=profile_refused file={} reason={}", log_value(path.string()), log_value(error.text));
}

}  // namespace

cache::ProfileStoreConfig keep_profiles_in(const std::string& disk_folder,
                                           store::IoRunner& runner) {
  cache::ProfileStoreConfig config;
  config.keep = [disk_folder, &runner](const Hash32& digest,
                                       const cache::ProfileFile& file,
                                       const std::function<void(Status)>& done) {
    auto status = std::make_shared<Status>();
    runner.run(
        store::Lane::write,
        [=] { *status = write_profile(disk_folder, digest, *file); },
        [=] { done(std::move(*status)); });
  };
  config.forget = [disk_folder, &runner](const Hash32& digest) {
    runner.run(
        store::Lane::write,
        [=] {
          std::error_code ignored;  // it is read again at the next start, and forgotten again
          fs::remove(path_of(disk_folder, digest), ignored);
        },
        [] {});
  };
  return config;
}

void read_profiles(const std::string& disk_folder,
                   cache::ProfileStore& store,
                   spdlog::logger& log) {
  const fs::path folder = folder_in(disk_folder);
  const Result<std::vector<fs::path>> paths = profile_paths(folder);
  if (paths.has_error()) {
    return warn_of(log, folder, paths.error());
  }
  for (const fs::path& path : *paths) {
    if (const Status read = read_into(store, path); read.has_error()) {
      warn_of(log, path, read.error());
    }
  }
  const cache::ProfileStats stats = store.stats();
  log.info("event=profiles count={} bytes={}", stats.profiles, stats.bytes);
}

}  // namespace sluice::daemon
