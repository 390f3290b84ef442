// Where a daemon and its clients on one host meet when nobody names a socket.
#pragma once

#include <cstdlib>
#include <string>

namespace sluice::transport {

// The socket of a daemon that runs outside any user's session.
inline constexpr const char* kServiceSocket = "/run/sluice/sluice.sock";

// $XDG_RUNTIME_DIR/sluice.sock, or "" outside a user session.
inline std::string user_socket() {
  const char* dir = std::getenv("XDG_RUNTIME_DIR");
  return dir != nullptr && *dir != '\0' ? std::string(dir) + "/sluice.sock" : std::string();
}

}  // namespace sluice::transport
