// Where a daemon listens and its clients connect: a unix socket's path, or tcp://HOST:PORT with an
// IPv4 address or an IPv6 address in brackets. Names are not looked up: that has no deadline.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "src/base/result.h"

namespace sluice::transport {

// Socket buffers of both ends of a unix socket: with 4 MiB a 1 MiB frame goes in one call, and it
// moves 5.7-8.5 GiB/s instead of 4.7 with the default of 208 KiB. TCP's grow by themselves.
inline constexpr int kSocketBufferBytes = 4 << 20;

// A TCP peer that is gone is noticed after so long, whether bytes wait for it or not.
inline constexpr int kPeerGoneMs = 30'000;

class SocketAddress {
 public:
  // Errors: invalid_argument (an empty path, one longer than the kernel's 107 bytes or with a NUL;
  // a tcp:// text that is no address and port; another scheme).
  static Result<SocketAddress> parse(const std::string& text);

  // What an accepted or listening socket is bound to (`peer`: connected to); TCP only.
  static SocketAddress of_socket(int fd, bool peer);

  // As parse() takes it.
  const std::string& text() const { return text_; }

  bool is_tcp() const { return storage_.ss_family != AF_UNIX; }

  // Whether only this machine can reach it.
  bool is_local() const;

  int family() const { return storage_.ss_family; }

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }

  socklen_t bytes() const { return bytes_; }

 private:
  SocketAddress() = default;

  sockaddr_storage storage_{};
  socklen_t bytes_ = 0;
  std::string text_;
};

// Sets what both ends of a connection need: large buffers on a unix socket, of which the kernel may
// give less (net.core.wmem_max); over TCP no delay, and an end for peers that are gone.
void set_socket_options(int fd, const SocketAddress& address);

// "path: what: Permission denied (errno 13)"
std::string errno_text(const std::string& address, const char* what, int error);

}  // namespace sluice::transport
