// The listening end of a unix socket: one daemon a path, stale files removed, mode and group set.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/result.h"
#include "transport/owned_fd.h"

namespace sluice::transport {

class UnixListener {
 public:
  // Listens at `path` with mode 0660, owned by `group` if that exists and we are in it. A socket
  // file that nobody listens on is removed first; anything else at `path` stays. The lock on
  // `path`.lock (left behind, empty) keeps two daemons that start together from taking each
  // other's file for a stale one.
  // Errors: invalid_argument (path), io_error (another daemon listens there, or the system's
  // reason).
  static Result<UnixListener> open(const std::string& path, const std::string& group);

  ~UnixListener() { close(); }

  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) = delete;

  int fd() const { return fd_.get(); }

  // Accepts no more and removes the socket file, if it is still this listener's.
  void close();

 private:
  UnixListener() = default;
  Status lock();
  Status remove_stale() const;
  Status bind_and_listen(const std::string& group);

  std::string path_;
  OwnedFd lock_;
  OwnedFd fd_;
  uint64_t inode_ = 0;
};

}  // namespace sluice::transport
