#include "transport/unix_address.h"

#include <sys/socket.h>

#include <cstring>
#include <system_error>

namespace sluice::transport {

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path ||
      path.find('\0') != std::string::npos) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "socket path '{}' has {} bytes, expected 1 to {} without a NUL; choose a "
                      "shorter one",
                      path,
                      path.size(),
                      sizeof address.sun_path - 1);
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

void set_socket_buffers(int fd) {
  int bytes = kSocketBufferBytes;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

std::string errno_text(const std::string& path, const char* what, int error) {
  return fmt::format(
      "{}: {}: {} (errno {})", path, what, std::generic_category().message(error), error);
}

}  // namespace sluice::transport
