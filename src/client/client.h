// One connection to sluiced that heals: it connects when first needed and again after it broke.
//
// Not pages (space.h). One thread at a time. Every request is bounded by the deadline.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "src/base/clock.h"
#include "src/base/result.h"
#include "transport/requester.h"

namespace sluice::client {

struct ClientOptions {
  // Unix socket path; "": $SLUICE_SOCKET, the user's socket, the service's, the first there is.
  std::string address;
  uint32_t deadline_ms = 5000;  // of each request; 1..600000
};

class Client {
 public:
  // Connects and says HELLO. Errors: invalid_argument (deadline), connection_lost, timed_out,
  // io_error, protocol_error and its like, identity_mismatch (the daemon's key chain makes other
  // keys of the same tokens), draining.
  static Result<std::unique_ptr<Client>> connect(ClientOptions options);

  // The live connection, made anew if the last one broke. Valid until the next call.
  // Errors: as connect().
  Result<transport::Requester*> requester();

  // Deadline of a request that starts now.
  transport::CallOptions call_options() const;

  // Rises with each connection: handles from before are void.
  uint64_t generation() const { return generation_; }

  // What the daemon calls itself, e.g. "sluiced 0.1.0".
  const std::string& daemon_software() const { return daemon_software_; }

  // Why the last lookup without any hit had none; "" after one with a hit.
  std::string miss_reason;

 private:
  explicit Client(ClientOptions options) : options_(std::move(options)) {}

  ClientOptions options_;
  SteadyClock clock_;
  std::unique_ptr<transport::Requester> requester_;
  uint64_t generation_ = 0;
  std::string daemon_software_;
};

}  // namespace sluice::client
