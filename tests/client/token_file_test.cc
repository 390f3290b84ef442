// The token of TCP connections: its file, who is served with it, and where it must not appear.
#include "src/client/token_file.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "src/base/clock.h"
#include "src/cache/page_cache.h"
#include "src/client/client.h"
#include "src/daemon/service.h"
#include "tests/support/temp_folder.h"
#include "transport/stream_server.h"

namespace sluice::client {
namespace {

const std::string kSecret = "correct-horse-battery-staple-of-32-or-more";

class TokenFile : public ::testing::Test {
 protected:
  std::string write(const std::string& content) {
    std::ofstream(folder_.file("token"), std::ios::binary) << content;
    return folder_.file("token");
  }

  testing::TempFolder folder_;
};

TEST_F(TokenFile, HoldsOneWord) {
  EXPECT_EQ(*read_token_file(write(kSecret)), kSecret);
  EXPECT_EQ(*read_token_file(write(kSecret + " \r\n\n")), kSecret);
}

TEST_F(TokenFile, WhatIsNoTokenIsRefusedWithoutBeingRepeated) {
  for (const std::string& content : {std::string(),
                                     std::string("short"),
                                     std::string(31, 'x'),
                                     std::string(129, 'x'),
                                     std::string(100'000, 'x'),
                                     kSecret + " " + kSecret,
                                     kSecret + std::string("\0", 1)}) {
    Result<std::string> token = read_token_file(write(content));
    ASSERT_TRUE(token.has_error()) << content;
    EXPECT_EQ(token.error().code, Errc::invalid_argument);
    EXPECT_NE(token.error().text.find(folder_.file("token")), std::string::npos);
    EXPECT_EQ(token.error().text.find(kSecret), std::string::npos);
  }
}

TEST_F(TokenFile, WhatCannotBeReadIsNamedAndNeverWaitedFor) {
  EXPECT_EQ(read_token_file(folder_.file("none")).error().code, Errc::io_error);
  EXPECT_EQ(read_token_file(folder_.path()).error().code, Errc::io_error);
  ASSERT_EQ(::mkfifo(folder_.file("pipe").c_str(), 0600), 0);
  EXPECT_TRUE(read_token_file(folder_.file("pipe")).has_error());
}

// A daemon on a unix socket and on TCP that asks for the token, and its log.
class TokenDaemon : public TokenFile {
 protected:
  TokenDaemon() {
    cache::PageCacheConfig config;
    config.ram.capacity_bytes = 64ull << 20;
    cache_ = *cache::PageCache::open(std::move(config));
    service_ = std::make_unique<daemon::Service>(*cache_, logger_, sha256(as_bytes(kSecret)));
    transport::StreamServerConfig server;
    server.addresses = {folder_.file("s.sock"), "tcp://127.0.0.1:0"};
    server_ = *transport::StreamServer::open(server, *service_, clock_);
    thread_ = std::thread([this] { EXPECT_TRUE(server_->run().has_value()); });
  }

  ~TokenDaemon() override { stop(); }

  void stop() {
    if (thread_.joinable()) {
      server_->request_drain();
      thread_.join();
    }
  }

  Result<std::shared_ptr<transport::Requester>> connect(const std::string& address,
                                                        const std::string& file) {
    client_ = *Client::open({.address = address, .token_file = file});
    return client_->requester();
  }

  std::string tcp() const { return server_->addresses().at(1); }

  SteadyClock clock_;
  std::ostringstream log_;
  spdlog::logger logger_{"test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_)};
  std::unique_ptr<cache::PageCache> cache_;
  std::unique_ptr<daemon::Service> service_;
  std::unique_ptr<transport::StreamServer> server_;
  std::unique_ptr<Client> client_;
  std::thread thread_;
};

TEST_F(TokenDaemon, ServesWhoHasTheToken) {
  auto requester = connect(tcp(), write(kSecret));
  ASSERT_TRUE(requester.has_value()) << requester.error().to_string();
  EXPECT_TRUE((*requester)->stats(client_->call_options()).has_value());
}

TEST_F(TokenDaemon, AUnixSocketAsksForNone) {
  EXPECT_TRUE(connect(folder_.file("s.sock"), "").has_value());
  // Nor is one read for it.
  EXPECT_TRUE(connect(folder_.file("s.sock"), folder_.file("none")).has_value());
}

TEST_F(TokenDaemon, RefusesWhoHasNoneOrAnotherAndSaysWhatToDo) {
  const std::pair<std::string, const char*> kBad[] = {
      {"", "name its file with SLUICE_TOKEN_FILE"},
      {write(kSecret + "x"), "the token is not the daemon's"},
  };
  for (const auto& [file, text] : kBad) {
    auto requester = connect(tcp(), file);
    ASSERT_TRUE(requester.has_error());
    EXPECT_EQ(requester.error().code, Errc::invalid_argument);
    EXPECT_NE(requester.error().text.find(text), std::string::npos) << requester.error().text;
    EXPECT_EQ(requester.error().text.find(kSecret), std::string::npos);
  }
}

TEST_F(TokenDaemon, ATokenThatChangesIsReadAtTheNextConnection) {
  EXPECT_TRUE(connect(tcp(), write(std::string(40, 'w'))).has_error());
  write(kSecret);
  EXPECT_TRUE(client_->requester().has_value());
}

TEST_F(TokenDaemon, NoLogLineHoldsAToken) {
  const std::string wrong = "wrong-" + kSecret;
  logger_.set_level(spdlog::level::trace);
  EXPECT_TRUE(connect(tcp(), write(kSecret)).has_value());
  EXPECT_TRUE(connect(tcp(), write(wrong)).has_error());
  client_.reset();
  stop();
  EXPECT_NE(log_.str().find("the token is not the daemon's"), std::string::npos) << log_.str();
  EXPECT_EQ(log_.str().find(kSecret), std::string::npos) << log_.str();
}

}  // namespace
}  // namespace sluice::client
