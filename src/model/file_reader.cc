#include "src/model/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice {
namespace {

uint64_t nanoseconds(const timespec& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
}

Error failed(std::string_view what, const std::string& path) {
  return SLUICE_ERR(Errc::io_error, "cannot {} {}: {}", what, path, std::strerror(errno));
}

}  // namespace

Result<FileReader> FileReader::open(const std::string& path) {
  // Non-blocking, so that opening a pipe without a writer does not hang.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return failed("open", path);
  }
  FileReader reader(fd, path);
  SLUICE_TRY(reader.identity_, reader.identity_now());
  return reader;
}

FileReader::~FileReader() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

FileReader::FileReader(FileReader&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      identity_(other.identity_) {}

Result<FileIdentity> FileReader::identity_now() const {
  struct stat info {};

  if (::fstat(fd_, &info) != 0) {
    return failed("stat", path_);
  }
  if (!S_ISREG(info.st_mode)) {
    return SLUICE_ERR(Errc::io_error, "{} is no regular file", path_);
  }
  return FileIdentity{.device = info.st_dev,
                      .inode = info.st_ino,
                      .bytes = static_cast<uint64_t>(info.st_size),
                      .mtime_ns = nanoseconds(info.st_mtim),
                      .ctime_ns = nanoseconds(info.st_ctim)};
}

Status FileReader::read_at(uint64_t offset, MutByteSpan out) const {
  while (!out.empty()) {
    ssize_t count = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return failed("read", path_);
    }
    if (count == 0) {
      return SLUICE_ERR(Errc::io_error,
                        "{} ends at offset {}, {} bytes short: it was cut while it was read",
                        path_,
                        offset,
                        out.size());
    }
    offset += static_cast<uint64_t>(count);
    out = out.subspan(static_cast<size_t>(count));
  }
  return {};
}

}  // namespace sluice
