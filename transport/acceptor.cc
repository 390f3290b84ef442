#include "transport/acceptor.h"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

namespace sluice::transport {
namespace {

using boost::asio::posix::stream_descriptor;
using boost::system::error_code;

constexpr std::chrono::milliseconds kPause{100};
constexpr int kAcceptsPerTurn = 16;  // before the others have a turn

}  // namespace

struct Acceptor::Waits {
  stream_descriptor listener;  // a duplicate of the listener's descriptor
  boost::asio::steady_timer pause;
};

Acceptor::Acceptor(boost::asio::io_context& io,
                   Listener listener,
                   std::function<void(OwnedFd)> take)
    : listener_(std::move(listener)),
      take_(std::move(take)),
      waits_(
          new Waits{stream_descriptor(io, ::dup(listener_.fd())), boost::asio::steady_timer(io)}) {}

Acceptor::~Acceptor() = default;

void Acceptor::start() {
  waits_->listener.async_wait(stream_descriptor::wait_read, [this](error_code error) {
    if (!error) {
      accept_some();
    }
  });
}

void Acceptor::accept_some() {
  // Peers that connect without end must not keep the others waiting.
  for (int taken = 0; taken < kAcceptsPerTurn; ++taken) {
    if (closed_) {
      return;
    }
    OwnedFd fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.get() >= 0) {
      take_(std::move(fd));
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return pause();  // out of descriptors or memory: others may end soon
    }
  }
  start();
}

void Acceptor::pause() {
  waits_->pause.expires_after(kPause);
  waits_->pause.async_wait([this](error_code error) {
    if (!error) {
      accept_some();
    }
  });
}

void Acceptor::close() {
  closed_ = true;
  error_code ignored;
  waits_->listener.close(ignored);
  waits_->pause.cancel();
  listener_.close();
}

}  // namespace sluice::transport
