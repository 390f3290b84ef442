// The daemon's sockets, unix and TCP: accepts connections and drives a Session over each
// (PROTOCOL.md, "Sockets").
//
// Not what requests mean: a SessionHandler answers them. One thread: everything happens inside
// run(); only request_drain() and post() may be called from elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "src/base/result.h"
#include "transport/session_handler.h"

namespace sluice::transport {

inline constexpr uint32_t kAddressesMax = 16;

struct StreamServerConfig {
  std::vector<std::string> addresses;  // 1..kAddressesMax (SocketAddress::parse)
  std::string group = "sluice";        // owns unix sockets if the group exists; empty: leave it
  uint32_t connections_max = 256;
  uint32_t drain_ms_max = 5'000;  // time that in-flight requests get after request_drain()
  SessionLimits session;

  // Errors: bad_config (names field, value and range).
  Status validate() const;
};

class StreamServer {
 public:
  // Binds and listens at every address; removes a socket file that nobody listens on. `handler` and
  // `clock` must outlive the server. Holds a lock on `path`.lock of a unix socket, so that two
  // daemons cannot take one path.
  // Errors: bad_config, io_error (names address and errno; another daemon listens; not a socket).
  static Result<std::unique_ptr<StreamServer>> open(const StreamServerConfig& config,
                                                    SessionHandler& handler,
                                                    const Clock& clock);

  // Closes every connection and removes the socket files.
  ~StreamServer();

  // Where it listens, in the order of the configuration; of TCP port 0: the port that was free.
  std::vector<std::string> addresses() const;

  // Runs `work` inside run(), again and again; a second call takes the place of the first. Before
  // run().
  void every(uint32_t interval_ms, std::function<void()> work);

  // Serves until drained. Errors: io_error.
  Status run();

  // Stops accepting, answers what is in flight, closes, and lets run() return.
  // Any thread, and any signal handler.
  void request_drain() noexcept;

  // Runs `work` inside run(), after those posted before it; it may answer on any session that is
  // still open. Any thread. What is posted after run() has returned is dropped with the server.
  void post(std::function<void()> work);

 private:
  class Impl;
  explicit StreamServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::transport
