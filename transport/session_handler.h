// What the daemon does with connections, whatever socket they came over.
#pragma once

#include <sys/types.h>

#include <string>

#include "src/base/result.h"
#include "transport/session.h"

namespace sluice::transport {

// Who is at the other end of an accepted socket.
struct Peer {
  std::string address;  // over TCP, e.g. "tcp://10.0.0.7:41822"; "": a unix socket, and then
  pid_t pid = 0;        // from SO_PEERCRED
  uid_t uid = 0;
  gid_t gid = 0;
};

// A Session stays valid from on_open to on_close, inclusive.
class SessionHandler {
 public:
  virtual ~SessionHandler() = default;

  virtual void on_open(Session& session, const Peer& peer) = 0;

  // Answer on the session, at once, in a later on_event, or in what was given to post().
  virtual void on_event(Session& session, Event event) = 0;

  // Release what accepted PUTs of this session reserved. `error` is nullptr when the connection
  // ended in good order; else it is worth one log line.
  virtual void on_close(Session& session, const Error* error) = 0;
};

}  // namespace sluice::transport
