// The file of a listening unix socket: one daemon a path, stale files removed, mode and group set.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/result.h"
#include "transport/owned_fd.h"
#include "transport/socket_address.h"

namespace sluice::transport {

class SocketFile {
 public:
  SocketFile() = default;

  ~SocketFile() { remove(); }

  SocketFile(SocketFile&&) noexcept = default;
  SocketFile& operator=(SocketFile&&) noexcept = default;

  // Makes the path free to bind: a socket file that nobody listens on is removed, anything else
  // there stays. The lock on `path`.lock (left behind, empty) keeps two daemons that start together
  // from taking each other's file for a stale one.
  // Errors: io_error (another daemon listens there, or the system's reason).
  static Result<SocketFile> claim(const SocketAddress& address);

  // After bind(), before listen(): mode 0660, owned by `group` if that exists and we are in it.
  // Errors: io_error.
  Status set_rights(const std::string& group);

  // Removes the file, if it is still this listener's.
  void remove();

 private:
  Status lock();

  std::string path_;
  OwnedFd lock_;
  uint64_t inode_ = 0;
};

}  // namespace sluice::transport
