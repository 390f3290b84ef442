#include "src/daemon/admin_server.h"

#include <array>
#include <chrono>
#include <list>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include "src/daemon/admin_address.h"

namespace sluice::daemon {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using Request = http::request<http::empty_body>;
using Response = http::response<http::string_body>;
using SnapshotRef = std::shared_ptr<const AdminSnapshot>;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
constexpr uint32_t kHeaderBytesMax = 8 << 10;
constexpr size_t kUnreadBytesMax = 64 << 10;  // taken from a peer that goes on sending
constexpr milliseconds kAcceptPause{100};     // after a failed accept, e.g. no descriptor left

Response to_http(AdminPage page) {
  Response out(static_cast<http::status>(page.status), 11);
  out.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
  out.set(http::field::cache_control, "no-store");
  out.keep_alive(false);
  if (out.result() == http::status::method_not_allowed) {
    out.set(http::field::allow, "GET");
  }
  out.body() = std::move(page.text);
  out.prepare_payload();
  return out;
}

// The page for bytes that are no request; none for a peer that only left.
std::optional<AdminPage> refuse_garbage(error_code error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return AdminPage{431, fmt::format("a request has at most {} bytes\n", kHeaderBytesMax)};
  }
  if (error.category() != make_error_code(http::error::bad_version).category() ||
      error == http::error::end_of_stream || error == http::error::partial_message) {
    return std::nullopt;
  }
  return AdminPage{400, fmt::format("this is no HTTP request: {}\n", error.message())};
}

std::string_view path_of(const Request& request) {
  const std::string_view target(request.target().data(), request.target().size());
  return target.substr(0, target.find('?'));
}

}  // namespace

class AdminServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const AdminServerConfig& config, Post post, TakeSnapshot take_snapshot)
      : config_(config), post_(std::move(post)), take_snapshot_(std::move(take_snapshot)) {}

  Status listen();
  void start();
  void stop();

  tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }

 private:
  struct Waiter {
    explicit Waiter(asio::io_context& io) : timer(io) {}

    asio::steady_timer timer;
    SnapshotRef snapshot;
  };

  asio::awaitable<void> accept_and_serve();
  asio::awaitable<void> serve(tcp::socket socket);
  asio::awaitable<void> exchange(beast::tcp_stream& stream);
  asio::awaitable<AdminPage> answer(const Request& request);
  asio::awaitable<SnapshotRef> ask_owner();
  void deliver(const SnapshotRef& snapshot);

  const AdminServerConfig config_;
  const Post post_;
  const TakeSnapshot take_snapshot_;
  asio::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  std::list<beast::tcp_stream*> connections_;  // oldest first
  std::set<Waiter*> waiters_;                  // at most one a connection
  bool asked_ = false;                         // one question at a time, however many wait for it
  std::thread thread_;
};

Status AdminServer::Impl::listen() {
  SLUICE_TRY(AdminAddress address, parse_admin_address(config_.address));
  error_code error;
  const tcp::endpoint wanted(asio::ip::make_address(address.host, error), address.port);
  acceptor_.open(wanted.protocol(), error);
  if (!error) {
    acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  }
  if (!error) {
    acceptor_.bind(wanted, error);
  }
  if (!error) {
    acceptor_.listen(asio::socket_base::max_listen_connections, error);
  }
  if (error) {
    return SLUICE_ERR(Errc::io_error,
                      "cannot listen on {} for the admin pages: {}; name another with --admin",
                      config_.address,
                      error.message());
  }
  return {};
}

// As many loops as there may be connections.
void AdminServer::Impl::start() {
  for (uint32_t i = 0; i < config_.connections_max; ++i) {
    asio::co_spawn(io_, accept_and_serve(), [](const std::exception_ptr& problem) {
      if (problem) {
        std::rethrow_exception(problem);
      }
    });
  }
  thread_ = std::thread([this] { io_.run(); });
}

void AdminServer::Impl::stop() {
  io_.stop();
  thread_.join();
}

asio::awaitable<void> AdminServer::Impl::accept_and_serve() {
  asio::steady_timer pause(io_);
  for (;;) {
    auto [error, socket] = co_await acceptor_.async_accept(kAsTuple);
    if (!error) {
      co_await serve(std::move(socket));
      continue;
    }
    pause.expires_after(kAcceptPause);
    co_await pause.async_wait(kAsTuple);
  }
}

// Where it takes the last loop, the oldest connection gives way, so that peers who say nothing keep
// nobody waiting: one that asked was answered long ago.
asio::awaitable<void> AdminServer::Impl::serve(tcp::socket socket) {
  beast::tcp_stream stream(std::move(socket));
  const auto place = connections_.insert(connections_.end(), &stream);
  if (connections_.size() == config_.connections_max) {
    connections_.front()->close();
  }
  co_await exchange(stream);
  connections_.erase(place);
}

// One request and its answer.
asio::awaitable<void> AdminServer::Impl::exchange(beast::tcp_stream& stream) {
  stream.expires_after(milliseconds(config_.connection_ms_max));
  beast::flat_buffer buffer(kHeaderBytesMax);
  http::request_parser<http::empty_body> parser;
  parser.header_limit(kHeaderBytesMax);
  auto [read_error, read] = co_await http::async_read_header(stream, buffer, parser, kAsTuple);
  std::optional<AdminPage> page = refuse_garbage(read_error);
  if (!read_error) {
    page = co_await answer(parser.get());
  }
  if (!page) {
    co_return;
  }
  const Response response = to_http(*std::move(page));
  co_await http::async_write(stream, response, kAsTuple);
  // Closing over unread bytes would take the answer from the peer: let it close first.
  error_code ignored;
  stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
  std::array<char, 4096> unread;
  for (size_t taken = 0; taken < kUnreadBytesMax;) {
    auto [error, bytes] = co_await stream.async_read_some(asio::buffer(unread), kAsTuple);
    if (error) {
      co_return;
    }
    taken += bytes;
  }
}

asio::awaitable<AdminPage> AdminServer::Impl::answer(const Request& request) {
  const bool has_length =
      request.has_content_length() && request[http::field::content_length] != "0";
  const AdminRequest asked{.get = request.method() == http::verb::get,
                           .has_body = request.chunked() || has_length,
                           .path = path_of(request)};
  std::optional<AdminPage> refused = refuse_admin_request(asked);
  if (refused) {
    co_return *std::move(refused);
  }
  const SnapshotRef snapshot = co_await ask_owner();
  if (snapshot == nullptr) {
    co_return owner_is_stuck(config_.owner_ms_max);
  }
  co_return show_admin_page(asked.path, *snapshot);
}

asio::awaitable<SnapshotRef> AdminServer::Impl::ask_owner() {
  Waiter waiter(io_);
  waiter.timer.expires_after(milliseconds(config_.owner_ms_max));
  waiters_.insert(&waiter);
  if (!asked_) {
    asked_ = true;
    post_([weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        auto snapshot = std::make_shared<const AdminSnapshot>(self->take_snapshot_());
        asio::post(self->io_, [raw = self.get(), snapshot] { raw->deliver(snapshot); });
      }
    });
  }
  co_await waiter.timer.async_wait(kAsTuple);  // until deliver() or its time
  waiters_.erase(&waiter);
  co_return waiter.snapshot;
}

void AdminServer::Impl::deliver(const SnapshotRef& snapshot) {
  asked_ = false;
  for (Waiter* waiter : waiters_) {
    waiter->snapshot = snapshot;
    waiter->timer.cancel();
  }
}

AdminServer::AdminServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

AdminServer::~AdminServer() {
  impl_->stop();
}

Result<std::unique_ptr<AdminServer>> AdminServer::open(const AdminServerConfig& config,
                                                       Post post,
                                                       TakeSnapshot take_snapshot) {
  auto impl = std::make_shared<Impl>(config, std::move(post), std::move(take_snapshot));
  SLUICE_CHECK(impl->listen());
  impl->start();
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(impl)));
}

std::string AdminServer::address() const {
  const tcp::endpoint endpoint = impl_->endpoint();
  const std::string host = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", host, endpoint.port())
                                    : fmt::format("{}:{}", host, endpoint.port());
}

}  // namespace sluice::daemon
