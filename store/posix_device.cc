#include "store/posix_device.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sluice::store {

namespace {

constexpr const char* kLockName = "lock";
constexpr const char* kProbeName = "direct-io.probe";  // ours, as the lock is (FORMAT.md)

// The operator's next step, where the reason names one. Of a full or failing disk LossLines says
// it.
std::string_view advice(int reason) {
  switch (reason) {
    case EACCES:
    case EPERM:
      return "; give it to the user of sluiced (chown)";
    case EROFS:
      return "; mount its file system for writing";
    case EMFILE:
    case ENFILE:
      return "; raise the limit of open files (LimitNOFILE= of the service)";
    case ENOTDIR:
    case ELOOP:
      return "; name a real folder with disk.path";
    default:
      return "";
  }
}

// What the last call said.
Error device_error(std::string_view action, const std::string& path) {
  int reason = errno;
  Errc code = reason == ENOSPC || reason == EDQUOT ? Errc::no_space
              : reason == ENOENT                   ? Errc::not_found
                                                   : Errc::io_error;
  return SLUICE_ERR(
      code, "cannot {} {}: {}{}", action, path, std::strerror(reason), advice(reason));
}

class PosixFile final : public BlockFile {
 public:
  PosixFile(std::shared_ptr<DeviceCounters> counters, std::string path, int fd)
      : BlockFile(std::move(counters)), path_(std::move(path)), fd_(fd) {}

  ~PosixFile() override { close(fd_); }

 private:
  Status do_read(uint64_t offset, MutByteSpan out) override {
    size_t at = 0;
    while (at < out.size()) {
      ssize_t got = pread(fd_, out.data() + at, out.size() - at, static_cast<off_t>(offset + at));
      if (got < 0 && errno != EINTR) {
        return device_error(fmt::format("read at offset {} of", offset + at), path_);
      }
      if (got == 0) {
        return SLUICE_ERR(is_removed() ? Errc::not_found : Errc::truncated,
                          "{} ends at {}, read from {} to {}",
                          path_,
                          offset + at,
                          offset,
                          offset + out.size());
      }
      at += got > 0 ? static_cast<size_t>(got) : 0;
    }
    return {};
  }

  Status do_write(uint64_t offset, ByteSpan bytes) override {
    size_t at = 0;
    while (at < bytes.size()) {
      ssize_t put =
          pwrite(fd_, bytes.data() + at, bytes.size() - at, static_cast<off_t>(offset + at));
      if (put < 0 && errno != EINTR) {
        return device_error(fmt::format("write at offset {} of", offset + at), path_);
      }
      if (put == 0) {
        errno = EIO;
        return device_error(fmt::format("write at offset {} of", offset + at), path_);
      }
      at += put > 0 ? static_cast<size_t>(put) : 0;
    }
    return {};
  }

  Status do_sync(SyncSite) override {
    // EINTR says nothing about what was synced; any failure is final for what was written.
    if (fdatasync(fd_) != 0) {
      return device_error("sync", path_);
    }
    return {};
  }

  Status do_truncate(uint64_t bytes) override {
    while (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) {
      if (errno != EINTR) {
        return device_error(fmt::format("cut to {} bytes", bytes), path_);
      }
    }
    return {};
  }

  Result<uint64_t> do_size() override {
    struct stat info {};

    if (fstat(fd_, &info) != 0) {
      return device_error("look at", path_);
    }
    return static_cast<uint64_t>(info.st_size);
  }

  bool is_removed() const {
    struct stat info {};

    return fstat(fd_, &info) == 0 && info.st_nlink == 0;
  }

  std::string path_;
  int fd_;
};

// Makes a folder's own name durable.
Status sync_parent(int folder, const std::string& path) {
  const int parent = openat(folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  Status status;
  if (parent < 0 || fsync(parent) != 0) {
    status = device_error("sync the parent of", path);
  }
  if (parent >= 0) {
    close(parent);
  }
  return status;
}

}  // namespace

Result<std::unique_ptr<PosixDevice>> PosixDevice::open_folder(const PosixDeviceConfig& config) {
  if (config.folder.empty()) {
    return SLUICE_ERR(Errc::bad_config, "the disk tier has no folder; name one with disk.path");
  }
  const bool is_new = mkdir(config.folder.c_str(), 0700) == 0;
  if (!is_new && errno == ENOENT) {
    return SLUICE_ERR(Errc::not_found,
                      "cannot make folder {}: the one that it would be in is not there; make that",
                      config.folder);
  }
  if (!is_new && errno != EEXIST) {
    return device_error("make folder", config.folder);
  }
  int folder = ::open(config.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) {
    return device_error("open folder", config.folder);
  }
  // Also where it was there: who made it may have been killed before this. Only a new one has
  // nobody else who can have done it; gone again, it is new at the next start too.
  Status synced = sync_parent(folder, config.folder);
  if (is_new && synced.has_error()) {
    close(folder);
    rmdir(config.folder.c_str());
    return SLUICE_ERR(synced.error().code,
                      "{}; make the folder yourself, or let sluiced read its parent",
                      synced.error().text);
  }
  int lock = openat(folder, kLockName, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  std::unique_ptr<PosixDevice> device(new PosixDevice(config.folder, folder, lock));
  if (lock < 0) {
    return device_error("open", device->path_of(kLockName));
  }
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      return device_error("lock", device->path_of(kLockName));
    }
    return SLUICE_ERR(
        Errc::bad_config,
        "another process has the log in {} open: a sluiced that runs already, maybe with this same "
        "configuration; stop it, or give each daemon a folder of its own",
        config.folder);
  }
  device->direct_ = !config.use_page_cache && device->probe_direct();
  return device;
}

PosixDevice::~PosixDevice() {
  close(folder_fd_);
  if (lock_fd_ >= 0) {
    close(lock_fd_);
  }
}

// Some file systems refuse O_DIRECT when the file is opened, some at the first transfer. Any other
// failure, a full disk first, says nothing about it and shows where it matters. What a start that
// was killed left of the probe goes first.
bool PosixDevice::probe_direct() const {
  unlinkat(folder_fd_, kProbeName, 0);
  int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_DIRECT;
  const auto is_refused = [] { return errno == EINVAL || errno == EOPNOTSUPP; };
  int fd = openat(folder_fd_, kProbeName, flags, 0600);
  if (fd < 0) {
    return !is_refused();
  }
  AlignedBuffer block(kBlockBytes);
  std::fill(block.bytes().begin(), block.bytes().end(), uint8_t{0});
  const bool works = (pwrite(fd, block.bytes().data(), kBlockBytes, 0) >= 0 || !is_refused()) &&
                     (pread(fd, block.bytes().data(), kBlockBytes, 0) >= 0 || !is_refused());
  close(fd);
  unlinkat(folder_fd_, kProbeName, 0);
  return works;
}

Result<std::shared_ptr<BlockFile>> PosixDevice::open_file(const std::string& name, int flags) {
  flags |= O_RDWR | O_CLOEXEC | O_NOFOLLOW | (direct_ ? O_DIRECT : 0);
  int fd = openat(folder_fd_, name.c_str(), flags, 0600);
  if (fd < 0) {
    return device_error("open", path_of(name));
  }
  return std::shared_ptr<BlockFile>(std::make_shared<PosixFile>(counters(), path_of(name), fd));
}

Result<std::shared_ptr<BlockFile>> PosixDevice::do_create(const std::string& name) {
  auto file = open_file(name, O_CREAT | O_EXCL);
  if (file.has_error() && file.error().code == Errc::not_found) {
    return SLUICE_ERR(
        Errc::io_error, "{}; the log's folder is gone: start sluiced again", file.error().text);
  }
  return file;
}

Result<std::shared_ptr<BlockFile>> PosixDevice::do_open(const std::string& name) {
  struct stat info {};

  if (fstatat(folder_fd_, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
      !S_ISREG(info.st_mode)) {
    return SLUICE_ERR(Errc::bad_value, "{} is no regular file", path_of(name));
  }
  return open_file(name, 0);
}

Result<std::vector<std::string>> PosixDevice::do_list() {
  int fd = openat(folder_fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* folder = fd < 0 ? nullptr : fdopendir(fd);
  if (folder == nullptr) {
    return device_error("list", folder_);
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(folder)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") {
      names.push_back(name);
    }
  }
  int reason = errno;
  closedir(folder);
  errno = reason;
  if (reason != 0) {
    return device_error("list", folder_);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status PosixDevice::do_remove(const std::string& name) {
  const int fd = openat(folder_fd_, name.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  Status status;
  if (unlinkat(folder_fd_, name.c_str(), 0) != 0) {
    status = device_error("remove", path_of(name));
  }
  if (fd >= 0) {
    // Where this fails the room comes back when the last reader closes the file.
    (void)(status.has_value() && ftruncate(fd, 0) == 0);
    close(fd);
  }
  return status;
}

Status PosixDevice::do_sync_folder(SyncSite) {
  if (fsync(folder_fd_) != 0) {
    return device_error("sync", folder_);
  }
  return {};
}

std::string PosixDevice::do_path_of(const std::string& name) const {
  return folder_ + "/" + name;
}

}  // namespace sluice::store
