#include "transport/unix_listener.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "transport/unix_address.h"

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

}  // namespace

Result<UnixListener> UnixListener::open(const std::string& path, const std::string& group) {
  SLUICE_TRY([[maybe_unused]] sockaddr_un address, unix_address(path));
  UnixListener listener;
  listener.path_ = path;
  SLUICE_CHECK(listener.lock());
  SLUICE_CHECK(listener.remove_stale());
  SLUICE_CHECK(listener.bind_and_listen(group));
  return listener;
}

Status UnixListener::lock() {
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

Status UnixListener::remove_stale() const {
  struct stat info {};

  if (::lstat(path_.c_str(), &info) != 0) {
    return errno == ENOENT ? Status() : system_error(path_, "lstat", errno);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return SLUICE_ERR(Errc::io_error,
                      "{}: there is a file that is no socket; move it, or choose another path",
                      path_);
  }
  SLUICE_TRY(sockaddr_un address, unix_address(path_));
  OwnedFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN) {
    return taken_error(path_);
  }
  if (errno != ECONNREFUSED) {
    return system_error(path_, "connect", errno);
  }
  return ::unlink(path_.c_str()) == 0 ? Status() : system_error(path_, "unlink", errno);
}

Status UnixListener::bind_and_listen(const std::string& group) {
  SLUICE_TRY(sockaddr_un address, unix_address(path_));
  fd_ = OwnedFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd_.get() < 0) {
    return system_error(path_, "socket", errno);
  }
  if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return system_error(path_, "bind", errno);
  }

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
  if (::chmod(path_.c_str(), kSocketMode) != 0) {
    return system_error(path_, "chmod", errno);
  }
  if (::listen(fd_.get(), SOMAXCONN) != 0) {
    return system_error(path_, "listen", errno);
  }
  return {};
}

void UnixListener::close() {
  if (fd_.get() < 0) {
    return;
  }
  fd_.reset();

  struct stat info {};

  if (::lstat(path_.c_str(), &info) == 0 && info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
  lock_.reset();
}

}  // namespace sluice::transport
