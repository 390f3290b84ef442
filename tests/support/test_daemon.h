// A daemon in a thread of the test: the real server, sessions, service and cache on a socket of its
// own. A handler of the test's may stand in front of the service and lie.
#pragma once

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>

#include <memory>
#include <string>
#include <thread>

#include "src/base/clock.h"
#include "src/cache/page_cache.h"
#include "src/daemon/service.h"
#include "tests/support/temp_folder.h"
#include "transport/stream_server.h"

namespace sluice::testing {

class TestDaemon {
 public:
  explicit TestDaemon(const std::string& socket,
                      uint64_t ram_bytes = 64ull << 20,
                      uint64_t profile_bytes = 64ull << 20)
      : socket_(socket) {
    cache::PageCacheConfig config;
    config.ram.capacity_bytes = ram_bytes;
    config.profiles.bytes_max = profile_bytes;
    cache_ = *cache::PageCache::open(std::move(config));
    service_ = std::make_unique<daemon::Service>(*cache_, log_);
  }

  ~TestDaemon() { stop(); }

  TestDaemon(const TestDaemon&) = delete;
  TestDaemon& operator=(const TestDaemon&) = delete;

  // Serves with `handler`, or with the service itself.
  void start(transport::SessionHandler* handler = nullptr) {
    transport::StreamServerConfig config;
    config.addresses = {socket_};
    config.drain_ms_max = 200;
    auto server =
        transport::StreamServer::open(config, handler == nullptr ? *service_ : *handler, clock_);
    ASSERT_TRUE(server.has_value()) << server.error().to_string();
    server_ = *std::move(server);
    thread_ = std::thread([this] { EXPECT_TRUE(server_->run().has_value()); });
  }

  void stop() {
    if (thread_.joinable()) {
      server_->request_drain();
      thread_.join();
      server_.reset();
    }
  }

  // Used from the test's thread while no request is on its way.
  cache::PageCache& cache() { return *cache_; }

  daemon::Service& service() { return *service_; }

 private:
  std::string socket_;
  SteadyClock clock_;
  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::null_sink_st>()};
  std::unique_ptr<cache::PageCache> cache_;
  std::unique_ptr<daemon::Service> service_;
  std::unique_ptr<transport::StreamServer> server_;
  std::thread thread_;
};

}  // namespace sluice::testing
