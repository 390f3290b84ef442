#include "transport/socket_file.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

namespace sluice::transport {
namespace {

constexpr mode_t kSocketMode = 0660;

Error system_error(const std::string& path, const char* what, int error) {
  return SLUICE_ERR(Errc::io_error, "{}", errno_text(path, what, error));
}

Error taken_error(const std::string& path) {
  return SLUICE_ERR(Errc::io_error,
                    "{}: another daemon listens there; stop it, or choose another socket path",
                    path);
}

Status remove_stale(const SocketAddress& address) {
  const std::string& path = address.text();

  struct stat info {};

  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? Status() : system_error(path, "lstat", errno);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return SLUICE_ERR(Errc::io_error,
                      "{}: there is a file that is no socket; move it, or choose another path",
                      path);
  }
  OwnedFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), address.get(), address.bytes()) == 0 || errno == EAGAIN) {
    return taken_error(path);
  }
  if (errno != ECONNREFUSED) {
    return system_error(path, "connect", errno);
  }
  return ::unlink(path.c_str()) == 0 ? Status() : system_error(path, "unlink", errno);
}

}  // namespace

Result<SocketFile> SocketFile::claim(const SocketAddress& address) {
  SocketFile file;
  file.path_ = address.text();
  SLUICE_CHECK(file.lock());
  SLUICE_CHECK(remove_stale(address));
  return file;
}

Status SocketFile::lock() {
  std::string lock_path = path_ + ".lock";
  lock_ = OwnedFd(::open(lock_path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock_.get() < 0) {
    return system_error(lock_path, "open", errno);
  }
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return errno == EWOULDBLOCK ? taken_error(path_) : system_error(lock_path, "flock", errno);
  }
  return {};
}

Status SocketFile::set_rights(const std::string& group) {
  struct stat info {};

  if (::lstat(path_.c_str(), &info) != 0) {
    return system_error(path_, "lstat", errno);
  }
  inode_ = info.st_ino;
  // Nobody can connect before listen(), so the file never stands open with a wider mode.
  const ::group* entry = group.empty() ? nullptr : ::getgrnam(group.c_str());
  if (entry != nullptr && ::chown(path_.c_str(), static_cast<uid_t>(-1), entry->gr_gid) != 0 &&
      errno != EPERM) {
    return system_error(path_, "chown", errno);
  }
  return ::chmod(path_.c_str(), kSocketMode) == 0 ? Status() : system_error(path_, "chmod", errno);
}

void SocketFile::remove() {
  struct stat info {};

  if (lock_.get() >= 0 && ::lstat(path_.c_str(), &info) == 0 && info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
  lock_.reset();
}

}  // namespace sluice::transport
