// The admin server over real sockets, with an owner whose thread the test plays.
#include "src/daemon/admin_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/daemon/admin_address.h"

namespace sluice::daemon {
namespace {

using std::chrono::steady_clock;

// The owner's thread: runs what is posted at once, or keeps it as a stuck one would.
class Owner {
 public:
  void post(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    posted_ += 1;
    if (stuck_) {
      kept_.push_back(std::move(work));
    } else {
      work();
    }
  }

  void set_stuck(bool stuck) {
    const std::lock_guard lock(mutex_);
    stuck_ = stuck;
    if (!stuck) {
      for (auto& work : kept_) {
        work();
      }
      kept_.clear();
    }
  }

  int posted() {
    const std::lock_guard lock(mutex_);
    return posted_;
  }

 private:
  std::mutex mutex_;
  bool stuck_ = false;
  int posted_ = 0;
  std::vector<std::function<void()>> kept_;
};

// A client's end of one connection.
class Peer {
 public:
  explicit Peer(const std::string& address) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.find(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }

  ~Peer() { ::close(fd_); }

  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void send(std::string_view text) {
    EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }

  // Everything until the server closes; "" if it closed without a word.
  std::string receive() {
    std::string out;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(fd_, buffer, sizeof buffer, 0)) > 0;) {
      out.append(buffer, static_cast<size_t>(got));
    }
    return out;
  }

 private:
  int fd_;
};

class AdminServerTest : public ::testing::Test {
 protected:
  AdminServerConfig config_{.address = "127.0.0.1:0"};
  Owner owner_;
  bool ready_ = true;
  std::unique_ptr<AdminServer> server_;

  void start() {
    auto server = AdminServer::open(
        config_,
        [this](std::function<void()> work) { owner_.post(std::move(work)); },
        [this] {
          return AdminSnapshot{.ready = ready_,
                               .metrics = {{.name = "sluice_answers_total",
                                            .help = "Answers.",
                                            .kind = metrics::Kind::counter,
                                            .samples = {{.value = 42}}}}};
        });
    ASSERT_TRUE(server.has_value()) << server.error().text;
    server_ = *std::move(server);
  }

  std::string exchange(std::string_view request) {
    Peer peer(server_->address());
    peer.send(request);
    return peer.receive();
  }

  std::string get(const std::string& path) {
    return exchange("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }

  void expect_status(const std::string& reply, int status, const std::string& text) {
    EXPECT_EQ(reply.substr(0, 12), "HTTP/1.1 " + std::to_string(status)) << reply;
    EXPECT_NE(reply.find(text), std::string::npos) << reply;
  }
};

TEST_F(AdminServerTest, ServesTheThreePages) {
  start();
  const std::string metrics = get("/metrics");
  expect_status(metrics, 200, "\r\n\r\n# HELP sluice_answers_total Answers.\n");
  EXPECT_NE(metrics.find("sluice_answers_total 42\n"), std::string::npos);
  EXPECT_NE(metrics.find("Content-Type: text/plain; version=0.0.4"), std::string::npos);
  expect_status(get("/metrics?name=x"), 200, "sluice_answers_total 42");
  expect_status(exchange("GET /readyz HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 200, "ok");
  expect_status(get("/healthz"), 200, "ok");
  expect_status(get("/readyz"), 200, "ok");
}

TEST_F(AdminServerTest, IsHealthyButNotReadyWhileDraining) {
  start();
  ready_ = false;
  expect_status(get("/healthz"), 200, "ok");
  expect_status(get("/readyz"), 503, "draining");
}

TEST_F(AdminServerTest, RefusesWhatIsNoPage) {
  start();
  expect_status(get("/"), 404, "there are /metrics, /healthz and /readyz");
  expect_status(get("/metrics/"), 404, "there are");
  expect_status(
      exchange("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), 405, "only GET");
  expect_status(exchange("HEAD /metrics HTTP/1.1\r\n\r\n"), 405, "Allow: GET");
  expect_status(
      exchange("GET /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), 400, "has no body");
  expect_status(
      exchange("GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "has no body");
  EXPECT_EQ(owner_.posted(), 0);
}

TEST_F(AdminServerTest, RefusesBytesThatAreNoRequest) {
  start();
  expect_status(exchange("\x16\x03\x01 a TLS hello\r\n\r\n"), 400, "this is no HTTP request");
  expect_status(exchange("GET /metrics SPDY/9\r\n\r\n"), 400, "this is no HTTP request");
  expect_status(get("/metrics HTTP/1.1\r\nX: " + std::string(20'000, 'a')), 431, "at most 8192");
  expect_status(exchange("GET /" + std::string(20'000, 'a')), 431, "at most 8192");
}

TEST_F(AdminServerTest, AnswersInTimeWhenTheOwnerIsStuck) {
  config_.owner_ms_max = 200;
  start();
  owner_.set_stuck(true);
  const auto began = steady_clock::now();
  for (const char* page : {"/healthz", "/readyz", "/metrics"}) {
    expect_status(get(page), 503, "did not answer within 200 ms");
  }
  EXPECT_LT(steady_clock::now() - began, std::chrono::seconds(5));
  EXPECT_EQ(owner_.posted(), 1) << "a stuck owner must not be buried in questions";
  owner_.set_stuck(false);
  expect_status(get("/healthz"), 200, "ok");
}

TEST_F(AdminServerTest, TellsEveryoneWhoWaitsForTheSameAnswer) {
  config_.owner_ms_max = 10'000;
  start();
  owner_.set_stuck(true);
  auto one = std::async(std::launch::async, [&] { return get("/metrics"); });
  auto other = std::async(std::launch::async, [&] { return get("/healthz"); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  owner_.set_stuck(false);
  expect_status(one.get(), 200, "sluice_answers_total 42");
  expect_status(other.get(), 200, "ok");
}

TEST_F(AdminServerTest, ClosesOverAPeerThatTakesTooLong) {
  config_.connection_ms_max = 100;
  start();
  Peer slow(server_->address());
  slow.send("GET /metrics HTT");
  EXPECT_EQ(slow.receive(), "");
  Peer silent(server_->address());
  EXPECT_EQ(silent.receive(), "");
}

TEST_F(AdminServerTest, PeersWhoSayNothingGiveWay) {
  config_.connections_max = 2;
  config_.connection_ms_max = 60'000;
  start();
  std::vector<std::unique_ptr<Peer>> silent;
  for (int i = 0; i < 20; ++i) {
    silent.push_back(std::make_unique<Peer>(server_->address()));
  }
  expect_status(get("/healthz"), 200, "ok");
  EXPECT_EQ(silent.front()->receive(), "");
}

TEST_F(AdminServerTest, EndsWithPeersAndQuestionsOpen) {
  start();
  owner_.set_stuck(true);
  Peer asking(server_->address());
  asking.send("GET /metrics HTTP/1.1\r\n\r\n");
  Peer silent(server_->address());
  while (owner_.posted() == 0) {
    std::this_thread::yield();
  }
  server_.reset();
  EXPECT_EQ(asking.receive(), "");
  owner_.set_stuck(false);  // the question comes back to nobody
}

TEST_F(AdminServerTest, NamesAnAddressThatIsTaken) {
  start();
  config_.address = server_->address();
  auto second = AdminServer::open(
      config_, [](const auto&) {}, [] { return AdminSnapshot{}; });
  ASSERT_TRUE(second.has_error());
  EXPECT_EQ(second.error().code, Errc::io_error);
  EXPECT_NE(second.error().text.find("cannot listen on " + config_.address), std::string::npos);
}

TEST(AdminAddress, ReadsBothFamilies) {
  EXPECT_EQ(parse_admin_address("127.0.0.1:9464")->port, 9464);
  EXPECT_EQ(parse_admin_address("[::1]:0")->host, "::1");
  EXPECT_EQ(parse_admin_address("127.8.8.8:65535")->host, "127.8.8.8");
}

TEST(AdminAddress, RefusesWhatIsNoneOrOpenToOthers) {
  const std::pair<const char*, const char*> kBad[] = {
      {"", "'' is no address; expected IP:PORT"},
      {"9464", "is no address"},
      {"127.0.0.1", "is no address"},
      {"127.0.0.1:", "is no address"},
      {"127.0.0.1:65536", "a port of 1..65535"},
      {"127.0.0.1:-1", "is no address"},
      {"127.0.0.1:80x", "is no address"},
      {"localhost:9464", "is no address"},
      {"0.0.0.0:9464", "other machines could reach 0.0.0.0:9464"},
      {"[::]:9464", "use 127.0.0.1 or [::1]"},
      {"192.168.1.2:9464", "ask for no token"},
      {"[::ffff:192.168.1.2]:9464", "other machines"},
  };
  for (const auto& [text, fragment] : kBad) {
    const auto address = parse_admin_address(text);
    ASSERT_TRUE(address.has_error()) << text;
    EXPECT_EQ(address.error().code, Errc::bad_config);
    EXPECT_NE(address.error().text.find(fragment), std::string::npos) << address.error().text;
  }
}

}  // namespace
}  // namespace sluice::daemon
