#include "transport/unix_server.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <set>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "transport/owned_fd.h"
#include "transport/unix_address.h"
#include "transport/unix_listener.h"

namespace sluice::transport {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// What one connection may move before the others get their turn.
constexpr size_t kTurnBytes = 8 << 20;
constexpr size_t kSendBytes = 4 << 20;  // one sendmsg: what the socket buffer can take
constexpr size_t kSendPieces = 64;
constexpr std::chrono::milliseconds kAcceptPause{100};
// What one connection, or the listener, may take of the only thread before the others have a turn.
// A request of a few bytes can ask for much work: 1,000 checks of a page of 128 MiB took 8 s.
constexpr uint64_t kTurnNs = 5'000'000;
constexpr int kAcceptsPerTurn = 16;

enum class Moved { nothing, some, lost };

Moved moved_of(ssize_t moved) {
  if (moved >= 0) {
    return Moved::some;
  }
  return errno == EAGAIN || errno == EINTR ? Moved::nothing : Moved::lost;
}

}  // namespace

// One accepted socket and its session. Alive while a callback holds it.
class UnixServer::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Impl& server, OwnedFd fd);

  void start();
  void turn();
  void drain();
  void end(const Error& error);

  Session& session() { return session_; }

 private:
  bool receive(size_t& budget);
  bool answer_events(uint64_t until_ns);
  bool send(size_t& budget);
  void wait_for_peer();
  void finish();

  Impl& server_;
  asio::posix::stream_descriptor socket_;
  Session session_;
  bool readable_ = true;
  bool writable_ = true;
  bool waits_read_ = false;
  bool waits_write_ = false;
  bool posted_ = false;
  bool unanswered_ = false;  // the turn ended before the events did
  bool finished_ = false;
};

class UnixServer::Impl {
 public:
  Impl(const UnixServerConfig& config,
       SessionHandler& handler,
       const Clock& clock,
       UnixListener listener,
       OwnedFd wake);
  ~Impl();

  Status run();
  void request_drain() noexcept;
  void post(std::function<void()> work);
  void every(std::chrono::milliseconds interval, std::function<void()> work);

 private:
  friend class UnixServer::Connection;

  void turn_all();
  void accept_when_ready();
  void accept_all();
  void open_connection(OwnedFd fd);
  void turn_away(OwnedFd fd);
  void drain();
  void arm_timer(uint64_t due_ns);
  void on_timer();
  template <class Visit>
  void for_each(Visit visit);
  void stop_if_drained();

  const UnixServerConfig config_;
  SessionHandler& handler_;
  const Clock& clock_;
  asio::io_context io_{1};
  UnixListener listener_;
  asio::posix::stream_descriptor accepts_;  // a duplicate of the listener's descriptor
  asio::posix::stream_descriptor wake_;
  asio::steady_timer timer_{io_};
  asio::steady_timer accept_pause_{io_};
  asio::steady_timer drain_timer_{io_};
  asio::steady_timer every_timer_{io_};
  uint64_t armed_ns_ = UINT64_MAX;
  bool draining_ = false;
  bool turn_all_posted_ = false;
  std::set<std::shared_ptr<Connection>> connections_;
};

// ---- Connection

UnixServer::Connection::Connection(Impl& server, OwnedFd fd)
    : server_(server),
      socket_(server.io_, fd.release()),
      session_(server.config_.session, server.clock_) {}

void UnixServer::Connection::start() {
  ucred peer{};
  socklen_t size = sizeof peer;
  ::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size);
  server_.handler_.on_open(session_, {.pid = peer.pid, .uid = peer.uid, .gid = peer.gid});
  turn();
}

// Moves bytes and answers until nothing moves, or the turn is over.
void UnixServer::Connection::turn() {
  if (finished_) {
    return;
  }
  const uint64_t now_ns = server_.clock_.now_ns();
  if (now_ns >= session_.next_timer_ns()) {
    session_.on_timer();  // what timed out is not worth the work of this turn
  }
  size_t budget = kTurnBytes;
  bool moved = true;
  while (moved && budget > 0 && !session_.closed()) {
    moved = receive(budget);
    moved = answer_events(now_ns + kTurnNs) || moved;
    moved = send(budget) || moved;
    moved = moved && !unanswered_;
  }
  if (session_.closed()) {
    return finish();
  }
  wait_for_peer();
  server_.arm_timer(session_.next_timer_ns());
}

bool UnixServer::Connection::receive(size_t& budget) {
  MutByteSpan buffer = session_.receive_buffer();
  if (!readable_ || buffer.empty()) {
    return false;
  }
  ssize_t n = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  Moved moved = moved_of(n);
  if (moved == Moved::nothing) {
    readable_ = false;
    return false;
  }
  if (moved == Moved::lost || n == 0) {
    session_.received_end();
    return true;
  }
  session_.received(static_cast<size_t>(n));
  budget -= std::min(budget, static_cast<size_t>(n));
  return true;
}

bool UnixServer::Connection::answer_events(uint64_t until_ns) {
  bool any = false;
  unanswered_ = false;
  while (auto event = session_.next_event()) {
    server_.handler_.on_event(session_, *std::move(event));
    any = true;
    if (server_.clock_.now_ns() >= until_ns) {
      unanswered_ = true;
      break;
    }
  }
  return any;
}

bool UnixServer::Connection::send(size_t& budget) {
  if (!writable_ || !session_.has_output()) {
    return false;
  }
  std::array<ByteSpan, kSendPieces> pieces;
  std::array<iovec, kSendPieces> vectors;
  size_t count = session_.gather(pieces, kSendBytes);
  for (size_t i = 0; i < count; ++i) {
    vectors[i] = {const_cast<uint8_t*>(pieces[i].data()), pieces[i].size()};
  }
  msghdr message{};
  message.msg_iov = vectors.data();
  message.msg_iovlen = count;
  ssize_t n = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  Moved moved = moved_of(n);
  if (moved == Moved::nothing) {
    writable_ = false;
    return false;
  }
  if (moved == Moved::lost) {
    session_.received_end();
    return true;
  }
  session_.sent(static_cast<size_t>(n));
  budget -= std::min(budget, static_cast<size_t>(n));
  return true;
}

void UnixServer::Connection::wait_for_peer() {
  auto self = shared_from_this();
  if (!readable_ && !waits_read_) {
    waits_read_ = true;
    socket_.async_wait(asio::posix::stream_descriptor::wait_read, [self](error_code) {
      self->waits_read_ = false;
      self->readable_ = true;
      self->turn();
    });
  }
  if (!writable_ && !waits_write_ && session_.has_output()) {
    waits_write_ = true;
    socket_.async_wait(asio::posix::stream_descriptor::wait_write, [self](error_code) {
      self->waits_write_ = false;
      self->writable_ = true;
      self->turn();
    });
  }
  bool more = unanswered_ || (readable_ && !session_.receive_buffer().empty()) ||
              (writable_ && session_.has_output());
  if (more && !posted_) {
    posted_ = true;
    asio::post(server_.io_, [self] {
      self->posted_ = false;
      self->turn();
    });
  }
}

void UnixServer::Connection::drain() {
  session_.drain();
  turn();
}

void UnixServer::Connection::end(const Error& error) {
  session_.close(error);
  turn();
}

void UnixServer::Connection::finish() {
  finished_ = true;
  // One try without waiting, so that the client learns why.
  size_t budget = kTurnBytes;
  writable_ = true;
  send(budget);
  server_.handler_.on_close(session_, session_.error());
  error_code ignored;
  socket_.close(ignored);
  server_.connections_.erase(shared_from_this());
  server_.stop_if_drained();
}

// ---- Impl

// Connections may end and leave the set while they are visited.
template <class Visit>
void UnixServer::Impl::for_each(Visit visit) {
  std::vector<std::shared_ptr<Connection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) {
    visit(*connection);
  }
}

UnixServer::Impl::Impl(const UnixServerConfig& config,
                       SessionHandler& handler,
                       const Clock& clock,
                       UnixListener listener,
                       OwnedFd wake)
    : config_(config),
      handler_(handler),
      clock_(clock),
      listener_(std::move(listener)),
      accepts_(io_, ::dup(listener_.fd())),
      wake_(io_, wake.release()) {}

UnixServer::Impl::~Impl() {
  for_each([](Connection& c) { c.end(SLUICE_ERR(Errc::draining, "the daemon ends")); });
}

Status UnixServer::Impl::run() {
  accept_when_ready();
  wake_.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code error) {
    if (!error) {
      drain();
    }
  });
  try {
    io_.run();
  } catch (const std::exception& e) {
    return SLUICE_ERR(Errc::io_error, "{}: event loop: {}", config_.path, e.what());
  }
  return {};
}

void UnixServer::Impl::request_drain() noexcept {
  uint64_t one = 1;
  // Fails only when the counter is full, and then the loop is woken already.
  [[maybe_unused]] ssize_t n = ::write(wake_.native_handle(), &one, sizeof one);
}

void UnixServer::Impl::post(std::function<void()> work) {
  asio::post(io_, [this, work = std::move(work)] {
    work();
    // Sessions do not say that they were answered: one round over all of them, however many
    // answers came together.
    if (!std::exchange(turn_all_posted_, true)) {
      asio::post(io_, [this] { turn_all(); });
    }
  });
}

void UnixServer::Impl::every(std::chrono::milliseconds interval, std::function<void()> work) {
  every_timer_.expires_after(interval);
  every_timer_.async_wait([this, interval, work = std::move(work)](error_code error) {
    if (!error) {
      work();
      every(interval, work);
    }
  });
}

void UnixServer::Impl::turn_all() {
  turn_all_posted_ = false;
  for_each([](Connection& c) { c.turn(); });
}

void UnixServer::Impl::accept_when_ready() {
  accepts_.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code error) {
    if (!error) {
      accept_all();
    }
  });
}

void UnixServer::Impl::accept_all() {
  for (int taken = 0; !draining_; ++taken) {
    if (taken == kAcceptsPerTurn) {
      return accept_when_ready();  // peers that connect without end must not keep the others
                                   // waiting
    }
    OwnedFd fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.get() >= 0) {
      connections_.size() < config_.connections_max ? open_connection(std::move(fd))
                                                    : turn_away(std::move(fd));
    } else if (errno == EAGAIN) {
      return accept_when_ready();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      // Out of descriptors or memory: others may end soon.
      accept_pause_.expires_after(kAcceptPause);
      return accept_pause_.async_wait([this](error_code error) {
        if (!error) {
          accept_all();
        }
      });
    }
  }
}

void UnixServer::Impl::open_connection(OwnedFd fd) {
  set_socket_buffers(fd.get());
  auto connection = std::make_shared<Connection>(*this, std::move(fd));
  connections_.insert(connection);
  connection->start();
}

// Says why, in one try, and closes.
void UnixServer::Impl::turn_away(OwnedFd fd) {
  Session session(config_.session, clock_);
  session.close(SLUICE_ERR(Errc::overloaded,
                           "the daemon has its {} connections; close one, or raise the limit",
                           config_.connections_max));
  std::array<ByteSpan, 2> pieces;
  for (size_t i = 0, count = session.gather(pieces, kSendBytes); i < count; ++i) {
    if (::send(fd.get(), pieces[i].data(), pieces[i].size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
      return;
    }
  }
}

void UnixServer::Impl::arm_timer(uint64_t due_ns) {
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

void UnixServer::Impl::on_timer() {
  armed_ns_ = UINT64_MAX;
  uint64_t now = clock_.now_ns();
  for_each([&](Connection& c) {
    if (c.session().next_timer_ns() <= now) {
      c.session().on_timer();
      c.turn();
    }
    arm_timer(c.session().next_timer_ns());
  });
}

void UnixServer::Impl::drain() {
  draining_ = true;
  error_code ignored;
  accepts_.close(ignored);
  accept_pause_.cancel();
  listener_.close();
  for_each([](Connection& c) { c.drain(); });
  drain_timer_.expires_after(std::chrono::milliseconds(config_.drain_ms_max));
  drain_timer_.async_wait([this](error_code error) {
    if (!error) {
      for_each(
          [](Connection& c) { c.end(SLUICE_ERR(Errc::draining, "the daemon is shutting down")); });
    }
  });
  stop_if_drained();
}

void UnixServer::Impl::stop_if_drained() {
  if (draining_ && connections_.empty()) {
    io_.stop();
  }
}

// ---- UnixServer

Status UnixServerConfig::validate() const {
  if (auto address = unix_address(path); address.has_error()) {
    return SLUICE_ERR(Errc::bad_config, "{}", address.error().text);
  }
  auto range = [](const char* field, uint64_t value, uint64_t low, uint64_t high) -> Status {
    if (value < low || value > high) {
      return SLUICE_ERR(Errc::bad_config, "{} is {}, expected {} to {}", field, value, low, high);
    }
    return {};
  };
  SLUICE_CHECK(range("connections_max", connections_max, 1, 65'536));
  SLUICE_CHECK(range("drain_ms_max", drain_ms_max, 0, kDeadlineMsMax));
  SLUICE_CHECK(range("requests_in_flight_max", session.requests_in_flight_max, 1, 65'536));
  SLUICE_CHECK(range("pages_wanted_max", session.pages_wanted_max, 1, kKeysMax));
  SLUICE_CHECK(range("frame_ms_max", session.frame_ms_max, 1, kDeadlineMsMax));
  SLUICE_CHECK(range("stall_ms_max", session.stall_ms_max, 1, kDeadlineMsMax));
  SLUICE_CHECK(range(
      "request_credit_bytes", session.request_credit_bytes, kCreditBytesMin, kCreditBytesMax));
  return range("reply_credit_bytes", session.reply_credit_bytes, kCreditBytesMin, kCreditBytesMax);
}

UnixServer::UnixServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

UnixServer::~UnixServer() = default;

Result<std::unique_ptr<UnixServer>> UnixServer::open(const UnixServerConfig& config,
                                                     SessionHandler& handler,
                                                     const Clock& clock) {
  SLUICE_CHECK(config.validate());
  SLUICE_TRY(UnixListener listener, UnixListener::open(config.path, config.group));
  OwnedFd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (wake.get() < 0) {
    return SLUICE_ERR(Errc::io_error, "{}", errno_text(config.path, "eventfd", errno));
  }
  try {
    auto impl =
        std::make_unique<Impl>(config, handler, clock, std::move(listener), std::move(wake));
    return std::unique_ptr<UnixServer>(new UnixServer(std::move(impl)));
  } catch (const std::exception& e) {
    return SLUICE_ERR(Errc::io_error, "{}: event loop: {}", config.path, e.what());
  }
}

Status UnixServer::run() {
  return impl_->run();
}

void UnixServer::request_drain() noexcept {
  impl_->request_drain();
}

void UnixServer::every(uint32_t interval_ms, std::function<void()> work) {
  impl_->every(std::chrono::milliseconds(interval_ms), std::move(work));
}

void UnixServer::post(std::function<void()> work) {
  impl_->post(std::move(work));
}

}  // namespace sluice::transport
