// The client's seam to a connection: bytes out and in, each call bounded by a deadline.
//
// Not frames (requester.h). One thread. Deadlines are absolute nanoseconds of CLOCK_MONOTONIC
// (SteadyClock). After an error the stream is unusable: close it and connect again.
#pragma once

#include <cstdint>
#include <span>

#include "src/base/bytes.h"
#include "src/base/result.h"

namespace sluice::transport {

class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // Sends all pieces, in order. Errors: connection_lost, timed_out, io_error.
  Status send(std::span<const ByteSpan> pieces, uint64_t deadline_ns);

  // Fills `out` to its end. Errors: connection_lost, timed_out, io_error.
  Status receive_exact(MutByteSpan out, uint64_t deadline_ns);

  // False where the peer closed, or sent what nobody has received yet.
  bool is_quiet() { return do_is_quiet(); }

  // Afterwards every call fails with connection_lost. Closing twice is fine.
  void close() { do_close(); }

 private:
  // Move at least one byte, or fail.
  virtual Result<size_t> do_send_some(std::span<const ByteSpan> pieces, uint64_t deadline_ns) = 0;
  virtual Result<size_t> do_receive_some(MutByteSpan out, uint64_t deadline_ns) = 0;

  virtual bool do_is_quiet() { return true; }

  virtual void do_close() = 0;
};

}  // namespace sluice::transport
