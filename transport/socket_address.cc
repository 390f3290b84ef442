#include "transport/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <charconv>
#include <cstring>
#include <string_view>
#include <system_error>

namespace sluice::transport {
namespace {

constexpr std::string_view kTcp = "tcp://";
constexpr int kProbeAfterS = 15;
constexpr int kProbeEveryS = 5;
constexpr int kProbes = (kPeerGoneMs / 1000 - kProbeAfterS) / kProbeEveryS;

bool parse_port(std::string_view text, in_port_t& out) {
  uint16_t port = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  out = htons(port);
  return problem == std::errc() && end == text.data() + text.size();
}

socklen_t parse_unix(const std::string& path, sockaddr_storage& storage) {
  auto& address = reinterpret_cast<sockaddr_un&>(storage);
  if (path.empty() || path.size() >= sizeof address.sun_path ||
      path.find('\0') != std::string::npos) {
    return 0;
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return sizeof address;
}

// "10.0.0.5:7440" or "[fd00::5]:7440".
socklen_t parse_tcp(std::string_view text, sockaddr_storage& storage) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.find('\0') != std::string_view::npos) {
    return 0;
  }
  std::string host(text.substr(0, colon));
  const std::string_view port = text.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    auto& address = reinterpret_cast<sockaddr_in6&>(storage);
    address.sin6_family = AF_INET6;
    host = host.substr(1, host.size() - 2);
    const bool good = parse_port(port, address.sin6_port) &&
                      ::inet_pton(AF_INET6, host.c_str(), &address.sin6_addr) == 1;
    return good ? sizeof address : 0;
  }
  auto& address = reinterpret_cast<sockaddr_in&>(storage);
  address.sin_family = AF_INET;
  const bool good = parse_port(port, address.sin_port) &&
                    ::inet_pton(AF_INET, host.c_str(), &address.sin_addr) == 1;
  return good ? sizeof address : 0;
}

void set_option(int fd, int level, int option, int value) {
  ::setsockopt(fd, level, option, &value, sizeof value);
}

}  // namespace

Result<SocketAddress> SocketAddress::parse(const std::string& text) {
  SocketAddress out;
  out.text_ = text;
  if (text.find("://") == std::string::npos) {
    out.bytes_ = parse_unix(text, out.storage_);
    if (out.bytes_ == 0) {
      return SLUICE_ERR(Errc::invalid_argument,
                        "socket path '{}' has {} bytes, expected 1 to {} without a NUL; choose a "
                        "shorter one",
                        text,
                        text.size(),
                        sizeof sockaddr_un::sun_path - 1);
    }
    return out;
  }
  if (text.starts_with(kTcp)) {
    out.bytes_ = parse_tcp(std::string_view(text).substr(kTcp.size()), out.storage_);
  }
  if (out.bytes_ == 0) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "'{}' is no address; expected a unix socket's path, or tcp://IP:PORT as in "
                      "tcp://10.0.0.5:7440 or tcp://[fd00::5]:7440",
                      text);
  }
  return out;
}

SocketAddress SocketAddress::of_socket(int fd, bool peer) {
  SocketAddress out;
  out.bytes_ = sizeof out.storage_;
  auto* storage = reinterpret_cast<sockaddr*>(&out.storage_);
  peer ? ::getpeername(fd, storage, &out.bytes_) : ::getsockname(fd, storage, &out.bytes_);
  char host[INET6_ADDRSTRLEN] = "?";
  if (out.family() == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6&>(out.storage_);
    ::inet_ntop(AF_INET6, &address.sin6_addr, host, sizeof host);
    out.text_ = fmt::format("{}[{}]:{}", kTcp, host, ntohs(address.sin6_port));
  } else {
    const auto& address = reinterpret_cast<const sockaddr_in&>(out.storage_);
    ::inet_ntop(AF_INET, &address.sin_addr, host, sizeof host);
    out.text_ = fmt::format("{}{}:{}", kTcp, host, ntohs(address.sin_port));
  }
  return out;
}

bool SocketAddress::is_local() const {
  if (family() == AF_INET6) {
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(storage_).sin6_addr);
  }
  if (family() == AF_INET) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(storage_);
    return (ntohl(address.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  }
  return true;
}

void set_socket_options(int fd, const SocketAddress& address) {
  if (!address.is_tcp()) {
    set_option(fd, SOL_SOCKET, SO_SNDBUF, kSocketBufferBytes);
    set_option(fd, SOL_SOCKET, SO_RCVBUF, kSocketBufferBytes);
    return;
  }
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kProbeAfterS);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kProbeEveryS);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kPeerGoneMs);
}

std::string errno_text(const std::string& address, const char* what, int error) {
  return fmt::format(
      "{}: {}: {} (errno {})", address, what, std::generic_category().message(error), error);
}

}  // namespace sluice::transport
