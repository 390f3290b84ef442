// Requester and StreamServer over a real socket: mode, takeover, limits, garbage, drain, deadlines.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "tests/support/temp_folder.h"
#include "tests/transport/memory_sink.h"
#include "tests/transport/sample_service.h"
#include "tests/transport/wire_bytes.h"
#include "transport/owned_fd.h"
#include "transport/requester.h"
#include "transport/socket_address.h"
#include "transport/socket_stream.h"
#include "transport/stream_server.h"

namespace sluice::transport {
namespace {

constexpr uint64_t kMs = 1'000'000;
const SteadyClock kClock;

uint64_t in_ms(uint64_t ms) {
  return kClock.now_ns() + ms * kMs;
}

CallOptions within(uint64_t ms) {
  return {.deadline_ns = in_ms(ms)};
}

// A server and a folder of its own for each test.
class ServedSocket {
 protected:
  // "": a unix socket in the test's folder.
  explicit ServedSocket(const std::string& address)
      : address_(address.empty() ? folder_ + "/s.sock" : address) {
    config_.addresses = {address_};
  }

  ~ServedSocket() { stop(); }

  void start(SessionHandler* handler = nullptr) {
    auto server = StreamServer::open(config_, handler == nullptr ? service_ : *handler, kClock);
    ASSERT_FALSE(server.has_error()) << server.error().to_string();
    server_ = *std::move(server);
    address_ = server_->addresses().at(0);
    thread_ = std::thread([this] { EXPECT_FALSE(server_->run().has_error()); });
  }

  void stop() {
    if (thread_.joinable()) {
      server_->request_drain();
      thread_.join();
    }
    server_.reset();
  }

  std::unique_ptr<Requester> connect(bool hello = true) {
    auto stream = connect_socket(address_, in_ms(5000));
    EXPECT_FALSE(stream.has_error()) << stream.error().to_string();
    auto requester = std::make_unique<Requester>(*std::move(stream), kClock);
    if (hello) {
      auto reply = requester->hello({.software = "test"}, within(5000));
      EXPECT_FALSE(reply.has_error()) << reply.error().to_string();
    }
    return requester;
  }

  // A connected socket without a Requester.
  OwnedFd connect_raw() {
    const SocketAddress address = *SocketAddress::parse(address_);
    OwnedFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), address.get(), address.bytes()), 0);
    return fd;
  }

  // A bound socket that is no Sluice daemon's.
  OwnedFd bind_raw() {
    SocketAddress address = *SocketAddress::parse(address_);
    OwnedFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(fd.get(), address.get(), address.bytes()), 0);
    address_ = address.is_tcp() ? SocketAddress::of_socket(fd.get(), false).text() : address_;
    return fd;
  }

  // All that comes until the other end closes.
  Bytes read_to_end(int fd) {
    Bytes all;
    uint8_t part[4096];
    for (ssize_t n; (n = ::read(fd, part, sizeof part)) > 0;) {
      all.insert(all.end(), part, part + n);
    }
    return all;
  }

  std::string open_error() {
    auto server = StreamServer::open(config_, service_, kClock);
    return server.has_error() ? server.error().to_string() : "";
  }

  testing::TempFolder temp_;
  std::string folder_ = temp_.path();
  std::string address_;  // where the server listens, or is to
  StreamServerConfig config_;
  SampleService service_;
  std::unique_ptr<StreamServer> server_;
  std::thread thread_;
};

class Socket : public ::testing::TestWithParam<const char*>, protected ServedSocket {
 protected:
  Socket() : ServedSocket(GetParam()) {}
};

std::string kind_name(const ::testing::TestParamInfo<const char*>& kind) {
  constexpr std::array kNames = {"Unix", "TcpOverIpv4", "TcpOverIpv6"};
  return kNames.at(kind.index);
}

INSTANTIATE_TEST_SUITE_P(Over,
                         Socket,
                         ::testing::Values("", "tcp://127.0.0.1:0", "tcp://[::1]:0"),
                         kind_name);

class UnixSocket : public ::testing::Test, protected ServedSocket {
 protected:
  UnixSocket() : ServedSocket("") {}
};

TEST_P(Socket, PagesGoThereAndBack) {
  start();
  auto requester = connect();
  GetRequest get{.handle = 7};
  for (uint8_t i = 0; i < 12; ++i) {
    Bytes page = random_bytes(1'200'000 + i, i);
    PutRequest put{.handle = 7, .key = key_of(i), .page_bytes = page.size()};
    auto reply = requester->put(put, std::array<ByteSpan, 1>{page}, within(5000));
    ASSERT_FALSE(reply.has_error()) << reply.error().to_string();
    get.pages.push_back({.key = key_of(i)});
  }
  MemorySink sink;
  auto status = requester->get(get, sink, within(5000));
  ASSERT_FALSE(status.has_error()) << status.error().to_string();
  for (uint8_t i = 0; i < 12; ++i) {
    EXPECT_EQ(sink.pages[i], random_bytes(1'200'000 + i, i));
  }
  stop();
  if (address_.starts_with("tcp://")) {
    EXPECT_TRUE(service_.peer().address.starts_with("tcp://")) << service_.peer().address;
  } else {
    EXPECT_EQ(service_.peer().address, "");
    EXPECT_EQ(service_.peer().pid, ::getpid());
    EXPECT_EQ(service_.peer().uid, ::getuid());
  }
}

// Answers as the service does, but takes 20 ms for each page.
class SlowPages final : public SessionHandler {
 public:
  explicit SlowPages(SessionHandler& inner) : inner_(inner) {}

  void on_open(Session& session, const Peer& peer) override { inner_.on_open(session, peer); }

  void on_event(Session& session, Event event) override {
    if (std::holds_alternative<GetPageEvent>(event)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    inner_.on_event(session, std::move(event));
  }

  void on_close(Session& session, const Error* error) override { inner_.on_close(session, error); }

 private:
  SessionHandler& inner_;
};

TEST_P(Socket, ALongRequestLeavesTurnsToOthers) {
  SlowPages slow(service_);
  service_.store(key_of(1), random_bytes(1000, 1));
  start(&slow);
  auto busy = connect();
  auto other = connect();
  GetRequest get{.handle = 7, .pages = std::vector<GetPageRequest>(100, {.key = key_of(1)})};
  std::thread reader([&] {
    MemorySink sink;
    EXPECT_FALSE(busy->get(get, sink, within(10'000)).has_error());
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  // Its 2 s of work are under way; the other waits for a page or two of it.
  const uint64_t start_ns = kClock.now_ns();
  EXPECT_FALSE(other->stats(within(5000)).has_error());
  EXPECT_LT(kClock.now_ns() - start_ns, 500 * kMs);
  reader.join();
  stop();  // before the handler goes
}

TEST_P(Socket, PeersThatConnectWithoutEndLeaveTurnsToOthers) {
  start();
  auto other = connect();
  std::atomic<bool> over = false;
  std::vector<std::thread> storm;
  for (int i = 0; i < 3; ++i) {
    storm.emplace_back([&] {
      const SocketAddress address = *SocketAddress::parse(address_);
      while (!over) {
        OwnedFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        ::connect(fd.get(), address.get(), address.bytes());
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(other->stats(within(2000)).has_error());
  }
  stop();  // returns although the storm goes on
  over = true;
  for (std::thread& thread : storm) {
    thread.join();
  }
}

TEST_F(UnixSocket, TheSocketFileHasItsModeAndGoesAway) {
  start();

  struct stat info {};

  ASSERT_EQ(::lstat(address_.c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777, 0660u);
  stop();
  EXPECT_NE(::lstat(address_.c_str(), &info), 0);
}

TEST_F(UnixSocket, AStaleFileIsReplaced) {
  bind_raw();
  start();
  EXPECT_FALSE(connect()->stats(within(5000)).has_error());
}

TEST_F(UnixSocket, ASecondDaemonIsRefusedAndTheFirstGoesOn) {
  start();
  EXPECT_NE(open_error().find("another daemon listens there"), std::string::npos) << open_error();
  EXPECT_FALSE(connect()->stats(within(5000)).has_error());
}

TEST_F(UnixSocket, ASocketOfAnotherProgramIsLeftAlone) {
  OwnedFd fd = bind_raw();
  ASSERT_EQ(::listen(fd.get(), 1), 0);
  EXPECT_NE(open_error().find("another daemon listens there"), std::string::npos) << open_error();
}

TEST_F(UnixSocket, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(address_) << "precious";
  EXPECT_NE(open_error().find("no socket"), std::string::npos) << open_error();
  std::string text;
  std::ifstream(address_) >> text;
  EXPECT_EQ(text, "precious");
}

TEST(SocketAddress, TakesPathsAndTcpWithIpAndPort) {
  const std::tuple<const char*, bool, bool> kGood[] = {
      {"/run/sluice/sluice.sock", false, true},
      {"relative.sock", false, true},
      {"127.0.0.1:7440", false, true},  // a file name too
      {"tcp://127.0.0.1:7440", true, true},
      {"tcp://127.9.9.9:1", true, true},
      {"tcp://[::1]:65535", true, true},
      {"tcp://10.0.0.5:7440", true, false},
      {"tcp://0.0.0.0:0", true, false},
      {"tcp://[::]:7440", true, false},
      {"tcp://[fd00::5]:7440", true, false},
      {"tcp://[::ffff:127.0.0.1]:7440", true, false},
  };
  for (const auto& [text, tcp, local] : kGood) {
    auto address = SocketAddress::parse(text);
    ASSERT_TRUE(address.has_value()) << address.error().to_string();
    EXPECT_EQ(address->text(), text);
    EXPECT_EQ(address->is_tcp(), tcp) << text;
    EXPECT_EQ(address->is_local(), local) << text;
  }
}

TEST(SocketAddress, RefusesWhatItIsNot) {
  const std::string kBad[] = {"",
                              std::string(108, 'x'),
                              std::string("a\0b", 3),
                              "tcp://",
                              "tcp://:7440",
                              "tcp://127.0.0.1",
                              "tcp://127.0.0.1:",
                              "tcp://127.0.0.1:65536",
                              "tcp://127.0.0.1:-1",
                              "tcp://127.0.0.1: 1",
                              "tcp://127.0.0.1:7440/",
                              "tcp://127.0.0.1:7440x",
                              std::string("tcp://127.0.0.1\0:7440", 21),
                              "tcp://localhost:7440",
                              "tcp://::1:7440",
                              "tcp://[]:7440",
                              "tcp://[127.0.0.1]:7440",
                              "tcp://[::1%lo]:7440",
                              "TCP://127.0.0.1:7440",
                              "tls://127.0.0.1:7440"};
  for (const std::string& text : kBad) {
    auto address = SocketAddress::parse(text);
    ASSERT_TRUE(address.has_error()) << text;
    EXPECT_EQ(address.error().code, Errc::invalid_argument);
  }
}

TEST_F(UnixSocket, SeveralAddressesAreServedAtOnce) {
  config_.addresses = {address_, "tcp://127.0.0.1:0", "tcp://[::1]:0"};
  start();
  for (const std::string& address : server_->addresses()) {
    address_ = address;
    EXPECT_FALSE(connect()->stats(within(5000)).has_error()) << address;
  }
}

TEST_F(UnixSocket, AnAddressThatIsTakenIsNamed) {
  config_.addresses = {"tcp://127.0.0.1:0"};
  start();
  config_.addresses = {address_};
  EXPECT_NE(open_error().find(address_ + ": bind: Address already in use"), std::string::npos)
      << open_error();
  EXPECT_FALSE(connect()->stats(within(5000)).has_error());
}

TEST_F(UnixSocket, BadConfigurationsNameTheField) {
  config_.connections_max = 0;
  EXPECT_NE(open_error().find("bad_config: connections_max is 0"), std::string::npos);
  config_.connections_max = 1;
  config_.addresses[0] = std::string(200, 'x');
  EXPECT_NE(open_error().find("bad_config: socket path"), std::string::npos) << open_error();
  config_.addresses[0] = folder_ + "/nowhere/s.sock";
  EXPECT_NE(open_error().find("io_error"), std::string::npos) << open_error();
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(fd, level, name, &value, &size), 0) << name;
  return value;
}

// This process's descriptors that are an end of a TCP connection.
std::vector<int> tcp_ends() {
  std::vector<int> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
        peer.ss_family != AF_UNIX) {
      out.push_back(fd);
    }
  }
  return out;
}

TEST_P(Socket, BothEndsLetGoOfATcpPeerThatIsGone) {
  start();
  auto requester = connect();
  const std::vector<int> ends = tcp_ends();
  ASSERT_EQ(ends.size(), address_.starts_with("tcp://") ? 2u : 0u);
  for (const int fd : ends) {
    EXPECT_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    const int last_probe_s =
        option(fd, IPPROTO_TCP, TCP_KEEPIDLE) +
        option(fd, IPPROTO_TCP, TCP_KEEPINTVL) * option(fd, IPPROTO_TCP, TCP_KEEPCNT);
    EXPECT_EQ(last_probe_s, 30) << "as PROTOCOL.md says";
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 30'000);
    EXPECT_EQ(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
  }
}

TEST_P(Socket, ConnectingSaysWhenNobodyListens) {
  EXPECT_EQ(connect_socket(address_, in_ms(1000)).error().code, Errc::connection_lost);
  EXPECT_EQ(connect_socket(std::string(200, 'x'), in_ms(1000)).error().code,
            Errc::invalid_argument);
}

TEST_F(UnixSocket, AFullBacklogTimesOut) {
  OwnedFd fd = bind_raw();
  ASSERT_EQ(::listen(fd.get(), 0), 0);
  auto first = connect_socket(address_, in_ms(1000));
  EXPECT_FALSE(first.has_error());
  uint64_t start_ns = kClock.now_ns();
  EXPECT_EQ(connect_socket(address_, in_ms(50)).error().code, Errc::timed_out);
  EXPECT_LT(kClock.now_ns() - start_ns, 1000 * kMs);
}

TEST_P(Socket, ASilentDaemonTimesOut) {
  OwnedFd fd = bind_raw();
  ASSERT_EQ(::listen(fd.get(), 5), 0);
  auto requester = connect(false);
  EXPECT_EQ(requester->hello({}, within(50)).error().code, Errc::timed_out);
  EXPECT_FALSE(requester->usable());
  // Nobody reads: the send blocks when the buffers are full.
  auto putting = connect(false);
  Bytes page(64 << 20);
  uint64_t start_ns = kClock.now_ns();
  PutRequest put{.key = key_of(1), .page_bytes = page.size()};
  EXPECT_EQ(putting->put(put, std::array<ByteSpan, 1>{page}, within(100)).error().code,
            Errc::timed_out);
  EXPECT_LT(kClock.now_ns() - start_ns, 2000 * kMs);
}

TEST_P(Socket, ADaemonThatDiesEndsTheCall) {
  OwnedFd listener = bind_raw();
  ASSERT_EQ(::listen(listener.get(), 5), 0);
  auto requester = connect(false);
  std::thread dies([&] { OwnedFd(::accept(listener.get(), nullptr, nullptr)); });
  EXPECT_EQ(requester->hello({}, within(5000)).error().code, Errc::connection_lost);
  dies.join();
}

TEST_P(Socket, GarbageClosesOnlyItsOwnConnection) {
  start();
  auto good = connect();
  Bytes page = random_bytes(100'000, 1);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    OwnedFd fd = connect_raw();
    Bytes garbage = random_bytes(1000, seed);
    ASSERT_EQ(::send(fd.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL), 1000);
    auto frames = frames_of(read_to_end(fd.get()));
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames[0].header.type, MessageType::goodbye);
    EXPECT_EQ(frames[0].status(), Errc::bad_magic);
    EXPECT_FALSE(good->stats(within(5000)).has_error());
  }
  stop();
  EXPECT_EQ(std::count_if(service_.errors().begin(),
                          service_.errors().end(),
                          [](const std::string& e) { return e.starts_with("bad_magic"); }),
            20);
}

TEST_P(Socket, AClientThatDiesInAPutLeavesNothing) {
  start();
  {
    OwnedFd fd = connect_raw();
    Bytes wire = hello_frame();
    Bytes put = put_frames(
        2, {.handle = 7, .key = key_of(1), .page_bytes = 500'000}, Bytes(500'000), 100'000);
    wire.insert(wire.end(), put.begin(), put.end() - 1);
    ASSERT_EQ(::send(fd.get(), wire.data(), wire.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(wire.size()));
  }
  auto requester = connect();
  EXPECT_EQ(requester->stats(within(5000))->stats.at(0).value, 0u);
  requester.reset();
  stop();
  EXPECT_EQ(service_.puts_under_way(), 0u);
  EXPECT_TRUE(service_.pages().empty());
  EXPECT_TRUE(service_.errors().at(0).starts_with("connection_lost")) << service_.errors().at(0);
}

TEST_P(Socket, AThousandConnectionsComeAndGo) {
  start();
  for (int i = 0; i < 1000; ++i) {
    auto requester = connect(i % 3 != 0);
    if (i % 5 == 0) {
      EXPECT_FALSE(connect()->stats(within(5000)).has_error());
    }
  }
  EXPECT_FALSE(connect()->stats(within(5000)).has_error());
  stop();
  EXPECT_EQ(service_.opened(), 1201u);
  EXPECT_EQ(service_.errors().size(), 1201u);
}

TEST_P(Socket, OneConnectionTooManyIsToldWhy) {
  config_.connections_max = 2;
  start();
  auto a = connect();
  auto b = connect();
  auto c = connect(false);
  EXPECT_EQ(c->hello({}, within(5000)).error().code, Errc::overloaded);
  EXPECT_FALSE(a->stats(within(5000)).has_error());
  a.reset();
  while (connect(false)->hello({}, within(5000)).has_error()) {
    ::usleep(1000);
  }
}

TEST_P(Socket, SilentPeersGiveWayToThoseThatSayHello) {
  config_.connections_max = 3;
  start();
  auto good = connect();
  std::vector<OwnedFd> silent;
  for (int i = 0; i < 10; ++i) {
    silent.push_back(connect_raw());
    EXPECT_FALSE(connect()->stats(within(5000)).has_error());
  }
  EXPECT_EQ(frames_of(read_to_end(silent[0].get())).at(0).status(), Errc::overloaded);
  EXPECT_FALSE(good->stats(within(5000)).has_error());
}

TEST_P(Socket, SlowClientsAreClosedOthersServed) {
  config_.session.frame_ms_max = 60;
  start();
  auto good = connect();
  OwnedFd silent = connect_raw();
  OwnedFd dripping = connect_raw();
  Bytes hello = hello_frame();
  ASSERT_EQ(::send(dripping.get(), hello.data(), 5, MSG_NOSIGNAL), 5);
  EXPECT_EQ(frames_of(read_to_end(silent.get())).at(0).status(), Errc::timed_out);
  EXPECT_EQ(frames_of(read_to_end(dripping.get())).at(0).status(), Errc::timed_out);
  EXPECT_FALSE(good->stats(within(5000)).has_error());
}

// Answers as the sample does, but every request only after another thread has posted it back.
class LateService final : public SessionHandler {
 public:
  explicit LateService(SampleService& inner) : inner_(inner) {}

  void on_open(Session& session, const Peer& peer) override {
    open_.insert(&session);
    inner_.on_open(session, peer);
  }

  void on_event(Session& session, Event event) override {
    workers_.emplace_back([this, &session, event = std::move(event)] {
      server->post([this, &session, event] {
        if (open_.contains(&session)) {
          inner_.on_event(session, event);
        }
      });
    });
  }

  void on_close(Session& session, const Error* error) override {
    open_.erase(&session);
    inner_.on_close(session, error);
  }

  void join() {
    for (std::thread& worker : workers_) {
      worker.join();
    }
  }

  StreamServer* server = nullptr;

 private:
  SampleService& inner_;
  std::set<Session*> open_;
  std::vector<std::thread> workers_;
};

TEST_P(Socket, AnswersFromAnotherThreadReachTheirClients) {
  LateService late(service_);
  start(&late);
  late.server = server_.get();
  Bytes page = random_bytes(3'000'000, 1);
  for (int round = 0; round < 20; ++round) {
    auto a = connect();
    auto b = connect();
    PutRequest put{.handle = 7, .key = key_of(1), .page_bytes = page.size()};
    const ByteSpan whole(page);
    EXPECT_FALSE(a->put(put, {&whole, 1}, within(5000)).has_error());
    EXPECT_FALSE(b->stats(within(5000)).has_error());
    MemorySink sink;
    GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}}};
    EXPECT_FALSE(b->get(get, sink, within(5000)).has_error());
    EXPECT_EQ(sink.pages.at(0), page);
  }
  stop();  // before the handler goes
  late.join();
}

TEST_P(Socket, WorkThatReturnsIsDoneAgainAndAgainUntilTheEnd) {
  auto server = StreamServer::open(config_, service_, kClock);
  ASSERT_FALSE(server.has_error());
  server_ = *std::move(server);
  std::atomic<int> rounds = 0;
  server_->every(1, [&rounds] { ++rounds; });
  thread_ = std::thread([this] { EXPECT_FALSE(server_->run().has_error()); });
  const uint64_t until_ns = in_ms(10'000);
  while (rounds < 5 && kClock.now_ns() < until_ns) {
    ::usleep(1000);
  }
  EXPECT_GE(rounds, 5);
  stop();
}

TEST_P(Socket, DrainTellsIdleClientsAndReturns) {
  start();
  auto requester = connect();
  stop();
  EXPECT_EQ(requester->stats(within(5000)).error().code, Errc::draining);
  EXPECT_EQ(connect_socket(address_, in_ms(100)).error().code, Errc::connection_lost);
}

TEST_P(Socket, DrainFinishesAGetThatIsUnderWay) {
  start();
  Bytes page = random_bytes(20'000'000, 1);
  service_.store(key_of(1), page);

  struct DrainingSink final : PageSink {
    MutByteSpan page_begins(const PageMeta& meta) override {
      server->request_drain();
      got.resize(meta.page_bytes());
      return got;
    }

    void page_ends(const PageMeta&) override {}

    void page_missing(const PageMeta&) override {}

    StreamServer* server = nullptr;
    Bytes got;
  };

  DrainingSink sink;
  sink.server = server_.get();
  auto requester = connect();
  GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}}};
  EXPECT_FALSE(requester->get(get, sink, within(5000)).has_error());
  EXPECT_EQ(sink.got, page);
}

TEST_P(Socket, DrainDoesNotWaitForEverForAClientThatTakesNothing) {
  config_.drain_ms_max = 100;
  start();
  service_.store(key_of(1), Bytes(50'000'000));
  OwnedFd fd = connect_raw();
  Bytes wire = hello_frame();
  Bytes get = request(MessageType::get, 2, GetRequest{.handle = 7, .pages = {{.key = key_of(1)}}});
  wire.insert(wire.end(), get.begin(), get.end());
  ASSERT_EQ(::send(fd.get(), wire.data(), wire.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(wire.size()));
  uint8_t first = 0;
  ASSERT_EQ(::recv(fd.get(), &first, 1, MSG_PEEK), 1);
  uint64_t start_ns = kClock.now_ns();
  stop();
  EXPECT_LT(kClock.now_ns() - start_ns, 3000 * kMs);
}

}  // namespace
}  // namespace sluice::transport
