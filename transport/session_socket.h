// An accepted socket and its Session: moves bytes between the two and hands events to the handler,
// without ever waiting. When to try again is the caller's matter (stream_server.cc).
#pragma once

#include <cstddef>
#include <cstdint>

#include "src/base/clock.h"
#include "transport/owned_fd.h"
#include "transport/session.h"
#include "transport/session_handler.h"
#include "transport/socket_address.h"

namespace sluice::transport {

class SessionSocket {
 public:
  // `fd`: non-blocking, accepted on a listener of that address.
  SessionSocket(OwnedFd fd,
                const SocketAddress& listener,
                const SessionLimits& limits,
                const Clock& clock,
                SessionHandler& handler);

  // Tells the handler about the connection, once, before the first turn.
  void open();

  // Moves bytes and answers until nothing moves, or the turn is over: other connections wait.
  void turn();

  // The session has closed: one try without waiting, so that the client learns why; then the
  // handler hears of it.
  void finish();

  Session& session() { return session_; }

  int fd() const { return fd_.get(); }

  // What the next turn waits for.
  bool waits_to_read() const { return !readable_; }

  bool waits_to_write() const { return !writable_ && session_.has_output(); }

  // Whether there is more to do at once.
  bool has_more() {
    return unanswered_ || (readable_ && !session_.receive_buffer().empty()) ||
           (writable_ && session_.has_output());
  }

  void now_readable() { readable_ = true; }

  void now_writable() { writable_ = true; }

 private:
  bool receive(size_t& budget);
  bool answer_events(uint64_t until_ns);
  bool send(size_t& budget);

  OwnedFd fd_;
  bool is_tcp_;
  const Clock& clock_;
  SessionHandler& handler_;
  Session session_;
  bool readable_ = true;
  bool writable_ = true;
  bool unanswered_ = false;  // the turn ended before the events did
};

}  // namespace sluice::transport
