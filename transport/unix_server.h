// The daemon's unix socket: accepts connections and drives a Session over each (PROTOCOL.md, "Unix
// socket").
//
// Not what requests mean: a SessionHandler answers them. One thread: everything happens inside
// run(); only request_drain() and post() may be called from elsewhere.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "src/base/clock.h"
#include "src/base/result.h"
#include "transport/session.h"

namespace sluice::transport {

// Who is at the other end, from SO_PEERCRED.
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

// What the daemon does with connections. A Session stays valid from on_open to on_close, inclusive.
class SessionHandler {
 public:
  virtual ~SessionHandler() = default;

  virtual void on_open(Session& session, const PeerCredentials& peer) = 0;

  // Answer on the session, at once, in a later on_event, or in what was given to post().
  virtual void on_event(Session& session, Event event) = 0;

  // Release what accepted PUTs of this session reserved. `error` is nullptr when the connection
  // ended in good order; else it is worth one log line.
  virtual void on_close(Session& session, const Error* error) = 0;
};

struct UnixServerConfig {
  std::string path;
  std::string group = "sluice";  // owns the socket if the group exists; empty: leave it
  uint32_t connections_max = 256;
  uint32_t drain_ms_max = 5'000;  // time that in-flight requests get after request_drain()
  SessionLimits session;

  // Errors: bad_config (names field, value and range).
  Status validate() const;
};

class UnixServer {
 public:
  // Binds and listens; removes a socket file that nobody listens on. `handler` and `clock` must
  // outlive the server. Holds a lock on `path`.lock, so that two daemons cannot take one path.
  // Errors: bad_config, io_error (names path and errno; another daemon listens; not a socket).
  static Result<std::unique_ptr<UnixServer>> open(const UnixServerConfig& config,
                                                  SessionHandler& handler,
                                                  const Clock& clock);

  // Closes every connection and removes the socket file.
  ~UnixServer();

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
  class Connection;
  class Impl;
  explicit UnixServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::transport
