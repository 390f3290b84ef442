// The client end of a socket, unix or TCP: non-blocking calls and poll(), so that no call outlives
// its deadline; never raises SIGPIPE.
#pragma once

#include <memory>
#include <string>

#include "transport/byte_stream.h"

namespace sluice::transport {

// Connects to the daemon at `address` (SocketAddress::parse), waiting while its backlog is full.
// Errors: invalid_argument (no address), connection_lost (nobody listens, or no way there; the text
// says what to do), timed_out, io_error.
Result<std::unique_ptr<ByteStream>> connect_socket(const std::string& address,
                                                   uint64_t deadline_ns);

}  // namespace sluice::transport
