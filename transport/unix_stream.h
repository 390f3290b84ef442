// The client end of a unix socket: non-blocking calls and poll(), so that no call outlives its
// deadline; never raises SIGPIPE.
#pragma once

#include <memory>
#include <string>

#include "transport/byte_stream.h"

namespace sluice::transport {

// Connects to the daemon at `path`, waiting while its backlog is full.
// Errors: invalid_argument (path too long), connection_lost (nobody listens; the text says what to
// do), timed_out, io_error.
Result<std::unique_ptr<ByteStream>> connect_unix(const std::string& path, uint64_t deadline_ns);

}  // namespace sluice::transport
