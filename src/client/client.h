// One connection to sluiced that heals: it connects when first needed and again after it broke.
//
// Not pages (space.h). One thread at a time. Every call is bounded: by the deadline, and where it
// moves many pages by the rate at which they move. After a call that took all of its time the
// daemon is left alone for a while, so that one that hangs cannot cost a deadline at every call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "src/base/clock.h"
#include "src/base/result.h"
#include "src/client/profile_set.h"
#include "transport/requester.h"

namespace sluice::client {

struct ClientOptions {
  // Unix socket path or tcp://IP:PORT; "": $SLUICE_SOCKET, which is either, the user's socket, the
  // service's, the first there is.
  std::string address;
  // Whose content is shown to a daemon over TCP (token_file.h); "": $SLUICE_TOKEN_FILE, if set.
  std::string token_file;
  // Of each request, and of each call beside the time that its pages may take; 1..600000.
  uint32_t deadline_ms = 5000;
};

// A call goes on past its deadline while tensors move at this rate. Slower than that, computing
// them again is quicker: the smallest of the test models prefills 5.5 MB of KV a second on 2 cores.
inline constexpr uint64_t kSlowestBytesPerS = 16 << 20;

// After a call that took its time: so many times the deadline, doubled each time up to the maximum.
inline constexpr uint64_t kPauseDeadlines = 4;
inline constexpr uint64_t kPauseNsMax = 300ull * 1'000'000'000;

// The socket that a client of this address connects to: the address, or the first of the default
// places above. "" is never answered.
std::string find_socket(const std::string& address);

class Client {
 public:
  // A client that connects at its first request. Errors: invalid_argument (deadline).
  static Result<std::unique_ptr<Client>> open(ClientOptions options);

  // The live connection, made anew if the last one broke. Valid until the next call.
  // Errors: connection_lost, timed_out (at once, while a daemon that hung is left alone),
  // io_error, protocol_error and its like, identity_mismatch (the daemon's key chain makes other
  // keys of the same tokens), draining.
  Result<std::shared_ptr<transport::Requester>> requester();

  // Deadline of a request that starts now, and the trace id that the daemon's log lines show.
  transport::CallOptions call_options() const;

  // The trace id of the calls that follow; zeros: one drawn for each call.
  void set_trace_id(const transport::TraceId& id) { given_trace_id_ = id; }

  // Bounds what happens until its end as one call; one inside another changes nothing.
  class Call {
   public:
    explicit Call(Client& client);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Client& client_;
  };

  // The call has moved tensors of so many bytes and may take as much longer.
  void moved(uint64_t tensor_bytes);

  // Rises with each connection: handles from before are void.
  uint64_t generation() const { return generation_; }

  // What the daemon calls itself, e.g. "sluiced 0.1.0".
  const std::string& daemon_software() const { return daemon_software_; }

  // What lossy pages are coded with; spaces look here when they are opened.
  ProfileSet profiles;

  // Why the last lookup without any hit had none; "" after one with a hit, unless pages came that
  // cannot be read here.
  std::string miss_reason;

 private:
  explicit Client(ClientOptions options) : options_(std::move(options)) {}

  uint64_t deadline_ns() const { return uint64_t{options_.deadline_ms} * 1'000'000; }

  Result<std::string> token(const std::string& address) const;
  Result<std::unique_ptr<transport::Requester>> connect();
  void end_call();

  ClientOptions options_;
  SteadyClock clock_;
  std::shared_ptr<transport::Requester> requester_;  // a PutWindow may hold it longer
  uint64_t generation_ = 0;
  std::string daemon_software_;
  uint32_t calls_ = 0;  // one inside another
  uint64_t call_ends_ns_ = 0;
  transport::TraceId given_trace_id_{};
  transport::TraceId trace_id_{};
  uint64_t connected_ns_ = 0;
  uint64_t pause_ns_ = 0;  // the last one's length
  uint64_t pause_ends_ns_ = 0;
};

}  // namespace sluice::client
