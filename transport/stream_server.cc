#include "transport/stream_server.h"

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "transport/acceptor.h"
#include "transport/listener.h"
#include "transport/owned_fd.h"
#include "transport/served_connection.h"
#include "transport/session_socket.h"

namespace sluice::transport {
namespace {

namespace asio = boost::asio;
using asio::posix::stream_descriptor;
using boost::system::error_code;

// Says why, in one try, and closes.
void turn_away(const OwnedFd& fd,
               const SessionLimits& limits,
               const Clock& clock,
               const Error& why) {
  Session session(limits, clock);
  session.close(why);
  std::array<ByteSpan, 2> pieces;
  for (size_t i = 0, count = session.gather(pieces, SIZE_MAX); i < count; ++i) {
    if (::send(fd.get(), pieces[i].data(), pieces[i].size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
      return;
    }
  }
}

}  // namespace

class StreamServer::Impl {
 public:
  Impl(const StreamServerConfig& config,
       SessionHandler& handler,
       const Clock& clock,
       std::vector<Listener> listeners,
       OwnedFd wake);
  ~Impl();

  Status run();
  void request_drain() noexcept;
  void post(std::function<void()> work);
  void every(std::chrono::milliseconds interval, std::function<void()> work);
  std::vector<std::string> addresses() const;

 private:
  void turn_all();
  bool make_room();
  void open_connection(OwnedFd fd, const SocketAddress& listener);
  void drain();
  void arm_timer(uint64_t due_ns);
  void on_timer();
  template <class Visit>
  void for_each(Visit visit);
  void forget(uint64_t number);
  void stop_if_drained();

  const StreamServerConfig config_;
  SessionHandler& handler_;
  const Clock& clock_;
  asio::io_context io_{1};
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  stream_descriptor wake_;
  asio::steady_timer timer_{io_};
  asio::steady_timer drain_timer_{io_};
  asio::steady_timer every_timer_{io_};
  uint64_t armed_ns_ = UINT64_MAX;
  bool draining_ = false;
  bool turn_all_posted_ = false;
  uint64_t opened_ = 0;
  std::map<uint64_t, std::shared_ptr<ServedConnection>>
      connections_;  // by number: the oldest first
};

// Connections may end and leave the map while they are visited.
template <class Visit>
void StreamServer::Impl::for_each(Visit visit) {
  std::vector<std::shared_ptr<ServedConnection>> all;
  for (const auto& [number, connection] : connections_) {
    all.push_back(connection);
  }
  for (const auto& connection : all) {
    visit(*connection);
  }
}

StreamServer::Impl::Impl(const StreamServerConfig& config,
                         SessionHandler& handler,
                         const Clock& clock,
                         std::vector<Listener> listeners,
                         OwnedFd wake)
    : config_(config), handler_(handler), clock_(clock), wake_(io_, wake.release()) {
  for (Listener& listener : listeners) {
    const SocketAddress address = listener.address();
    acceptors_.push_back(
        std::make_unique<Acceptor>(io_, std::move(listener), [this, address](OwnedFd fd) {
          open_connection(std::move(fd), address);
        }));
  }
}

StreamServer::Impl::~Impl() {
  for_each([](ServedConnection& c) { c.end(SLUICE_ERR(Errc::draining, "the daemon ends")); });
}

Status StreamServer::Impl::run() {
  for (const auto& acceptor : acceptors_) {
    acceptor->start();
  }
  wake_.async_wait(stream_descriptor::wait_read, [this](error_code error) {
    if (!error) {
      drain();
    }
  });
  try {
    io_.run();
  } catch (const std::exception& e) {
    return SLUICE_ERR(Errc::io_error, "event loop: {}", e.what());
  }
  return {};
}

void StreamServer::Impl::request_drain() noexcept {
  uint64_t one = 1;
  // Fails only when the counter is full, and then the loop is woken already.
  [[maybe_unused]] ssize_t n = ::write(wake_.native_handle(), &one, sizeof one);
}

void StreamServer::Impl::post(std::function<void()> work) {
  asio::post(io_, [this, work = std::move(work)] {
    work();
    // Sessions do not say that they were answered: one round over all of them, however many
    // answers came together.
    if (!std::exchange(turn_all_posted_, true)) {
      asio::post(io_, [this] { turn_all(); });
    }
  });
}

void StreamServer::Impl::every(std::chrono::milliseconds interval, std::function<void()> work) {
  every_timer_.expires_after(interval);
  every_timer_.async_wait([this, interval, work = std::move(work)](error_code error) {
    if (!error) {
      work();
      every(interval, work);
    }
  });
}

std::vector<std::string> StreamServer::Impl::addresses() const {
  std::vector<std::string> out;
  for (const auto& acceptor : acceptors_) {
    out.push_back(acceptor->address().text());
  }
  return out;
}

void StreamServer::Impl::turn_all() {
  turn_all_posted_ = false;
  for_each([](ServedConnection& c) { c.turn(); });
}

// Whether there is room for one more: of those that have not said HELLO, which anybody can be, the
// oldest gives way, so that silent peers keep nobody out.
bool StreamServer::Impl::make_room() {
  if (connections_.size() < config_.connections_max) {
    return true;
  }
  for (const auto& [number, connection] : connections_) {
    if (!connection->session().hello_done()) {
      const auto oldest = connection;
      oldest->end(SLUICE_ERR(Errc::overloaded,
                             "the daemon has its {} connections, and this one said no HELLO before "
                             "others came",
                             config_.connections_max));
      return true;
    }
  }
  return false;
}

void StreamServer::Impl::open_connection(OwnedFd fd, const SocketAddress& listener) {
  if (!make_room()) {
    return turn_away(fd,
                     config_.session,
                     clock_,
                     SLUICE_ERR(Errc::overloaded,
                                "the daemon has its {} connections; close one, or raise the limit",
                                config_.connections_max));
  }
  const uint64_t number = ++opened_;
  auto connection = std::make_shared<ServedConnection>(
      io_,
      std::make_unique<SessionSocket>(std::move(fd), listener, config_.session, clock_, handler_),
      ServedConnection::Hooks{.arm_timer = [this](uint64_t due_ns) { arm_timer(due_ns); },
                              .finished = [this, number] { forget(number); }});
  connections_.emplace(number, connection);
  connection->start();
}

void StreamServer::Impl::arm_timer(uint64_t due_ns) {
  if (due_ns >= armed_ns_) {
    return;
  }
  armed_ns_ = due_ns;
  uint64_t now = clock_.now_ns();
  timer_.expires_after(std::chrono::nanoseconds(due_ns > now ? due_ns - now : 0));
  timer_.async_wait([this](error_code error) {
    if (!error) {
      on_timer();
    }
  });
}

void StreamServer::Impl::on_timer() {
  armed_ns_ = UINT64_MAX;
  uint64_t now = clock_.now_ns();
  for_each([&](ServedConnection& c) {
    if (c.session().next_timer_ns() <= now) {
      c.session().on_timer();
      c.turn();
    }
    arm_timer(c.session().next_timer_ns());
  });
}

void StreamServer::Impl::drain() {
  draining_ = true;
  for (const auto& acceptor : acceptors_) {
    acceptor->close();
  }
  for_each([](ServedConnection& c) { c.drain(); });
  drain_timer_.expires_after(std::chrono::milliseconds(config_.drain_ms_max));
  drain_timer_.async_wait([this](error_code error) {
    if (!error) {
      for_each([](ServedConnection& c) {
        c.end(SLUICE_ERR(Errc::draining, "the daemon is shutting down"));
      });
    }
  });
  stop_if_drained();
}

void StreamServer::Impl::forget(uint64_t number) {
  connections_.erase(number);
  stop_if_drained();
}

void StreamServer::Impl::stop_if_drained() {
  if (draining_ && connections_.empty()) {
    io_.stop();
  }
}

// ---- StreamServer

StreamServer::StreamServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

StreamServer::~StreamServer() = default;

Result<std::unique_ptr<StreamServer>> StreamServer::open(const StreamServerConfig& config,
                                                         SessionHandler& handler,
                                                         const Clock& clock) {
  SLUICE_CHECK(config.validate());
  std::vector<Listener> listeners;
  for (const std::string& address : config.addresses) {
    SLUICE_TRY(Listener listener, Listener::open(address, config.group));
    listeners.push_back(std::move(listener));
  }
  OwnedFd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (wake.get() < 0) {
    return SLUICE_ERR(Errc::io_error, "{}", errno_text("sluiced", "eventfd", errno));
  }
  try {
    auto impl =
        std::make_unique<Impl>(config, handler, clock, std::move(listeners), std::move(wake));
    return std::unique_ptr<StreamServer>(new StreamServer(std::move(impl)));
  } catch (const std::exception& e) {
    return SLUICE_ERR(Errc::io_error, "event loop: {}", e.what());
  }
}

std::vector<std::string> StreamServer::addresses() const {
  return impl_->addresses();
}

Status StreamServer::run() {
  return impl_->run();
}

void StreamServer::request_drain() noexcept {
  impl_->request_drain();
}

void StreamServer::every(uint32_t interval_ms, std::function<void()> work) {
  impl_->every(std::chrono::milliseconds(interval_ms), std::move(work));
}

void StreamServer::post(std::function<void()> work) {
  impl_->post(std::move(work));
}

}  // namespace sluice::transport
