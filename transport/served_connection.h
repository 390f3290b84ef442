// One connection of the server inside its event loop: waits until its socket can move bytes, and
// turns (session_socket.h). Alive while a callback holds it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "transport/session_socket.h"

namespace boost::asio {
class io_context;
}

namespace sluice::transport {

class ServedConnection : public std::enable_shared_from_this<ServedConnection> {
 public:
  // What the server does when a turn is over.
  struct Hooks {
    std::function<void(uint64_t due_ns)> arm_timer;  // the session has something to do then
    std::function<void()> finished;                  // called once, the last of all
  };

  // `io` must outlive the connection. May throw what Asio throws.
  ServedConnection(boost::asio::io_context& io, std::unique_ptr<SessionSocket> socket, Hooks hooks);
  ~ServedConnection();

  void start();
  void turn();
  void drain();
  void end(const Error& error);

  Session& session() { return socket_->session(); }

 private:
  struct Waits;

  void wait_for_peer();
  void finish();

  boost::asio::io_context& io_;
  std::unique_ptr<SessionSocket> socket_;
  Hooks hooks_;
  std::unique_ptr<Waits> waits_;
  bool waits_read_ = false;
  bool waits_write_ = false;
  bool posted_ = false;
  bool finished_ = false;
};

}  // namespace sluice::transport
