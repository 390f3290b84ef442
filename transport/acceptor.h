// Accepts the connections of one listener inside an event loop.
#pragma once

#include <functional>
#include <memory>

#include "transport/listener.h"
#include "transport/owned_fd.h"

namespace boost::asio {
class io_context;
}

namespace sluice::transport {

class Acceptor {
 public:
  // `take` gets each connection's descriptor, non-blocking. `io` must outlive the acceptor. May
  // throw what Asio throws.
  Acceptor(boost::asio::io_context& io, Listener listener, std::function<void(OwnedFd)> take);
  ~Acceptor();

  // Begins to accept.
  void start();

  // Accepts no more.
  void close();

  const SocketAddress& address() const { return listener_.address(); }

 private:
  struct Waits;

  void accept_some();
  void pause();

  Listener listener_;
  std::function<void(OwnedFd)> take_;
  std::unique_ptr<Waits> waits_;
  bool closed_ = false;
};

}  // namespace sluice::transport
