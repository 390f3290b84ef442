// A listening socket: unix (socket_file.h) or TCP.
#pragma once

#include <string>

#include "src/base/result.h"
#include "transport/owned_fd.h"
#include "transport/socket_address.h"
#include "transport/socket_file.h"

namespace sluice::transport {

class Listener {
 public:
  // `group`: of a unix socket's file. An IPv6 address takes no IPv4 peers.
  // Errors: invalid_argument (address), io_error (another daemon listens there, or the system's
  // reason).
  static Result<Listener> open(const std::string& address, const std::string& group);

  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) = delete;

  int fd() const { return fd_.get(); }

  // Where it listens; of TCP port 0: the port that the system chose.
  const SocketAddress& address() const { return address_; }

  // Accepts no more; a unix socket's file goes.
  void close();

 private:
  explicit Listener(SocketAddress address) : address_(std::move(address)) {}

  Status bind_and_listen(const std::string& group);

  SocketAddress address_;
  SocketFile file_;
  OwnedFd fd_;
};

}  // namespace sluice::transport
