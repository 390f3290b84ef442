// A unix socket's path as the kernel takes it, for both ends.
#pragma once

#include <sys/un.h>

#include <string>

#include "src/base/result.h"

namespace sluice::transport {

// Socket buffers of both ends: with 4 MiB a 1 MiB frame goes in one call, and a unix socket moves
// 5.7-8.5 GiB/s instead of 4.7 with the default of 208 KiB.
inline constexpr int kSocketBufferBytes = 4 << 20;

// Errors: invalid_argument (empty, longer than the kernel's 107 bytes, or with a NUL).
Result<sockaddr_un> unix_address(const std::string& path);

// Asks for kSocketBufferBytes each way; the kernel may give less (net.core.wmem_max).
void set_socket_buffers(int fd);

// "path: what: Permission denied (errno 13)"
std::string errno_text(const std::string& path, const char* what, int error);

}  // namespace sluice::transport
