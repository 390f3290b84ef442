// Answers the requests of every connection out of the page cache, and logs what an operator needs.
//
// Not sockets (transport) and not cache rules (src/cache): this file only translates. One thread,
// the server's. Each connection has handles and pending puts of its own, which end with it.
#pragma once

#include <spdlog/logger.h>

#include <cstdint>
#include <map>
#include <memory>

#include "src/base/clock.h"
#include "src/cache/page_cache.h"
#include "src/daemon/counters.h"
#include "transport/unix_server.h"

namespace sluice::daemon {

class Service final : public transport::SessionHandler {
 public:
  // Both must outlive the service.
  Service(cache::PageCache& cache, spdlog::logger& log);

  void on_open(transport::Session& session, const transport::PeerCredentials& peer) override;
  void on_event(transport::Session& session, transport::Event event) override;
  void on_close(transport::Session& session, const Error* error) override;

  DaemonStats stats() const;

 private:
  struct Connection {
    uint64_t number = 0;  // in log lines
    cache::HandleTable handles;
    std::map<transport::RequestId, cache::PendingPut> puts;
  };

  using Reply = Result<transport::ReplyBody>;

  Reply answer(Connection& connection, const transport::HelloRequest& hello);
  Reply answer(Connection& connection, const transport::OpenRequest& open);
  Reply answer(Connection& connection, const transport::LookupRequest& lookup);
  Reply answer(Connection& connection, const transport::DamagedRequest& damaged);
  Reply answer(Connection& connection, const transport::DeleteRequest& erase);
  Reply answer(Connection& connection, const transport::StatsRequest& stats);

  void on(transport::Session& session, Connection& connection, transport::RequestEvent& event);
  void on(transport::Session& session, Connection& connection, transport::GetPageEvent& event);
  void on(transport::Session& session, Connection& connection, transport::PutBeginEvent& event);
  void on(transport::Session& session, Connection& connection, transport::PutEndEvent& event);
  void on(transport::Session& session, Connection& connection, transport::PutAbortedEvent& event);

  Result<cache::PendingPut> begin_put(Connection& connection, const transport::PutRequest& put);

  cache::PageCache& cache_;
  spdlog::logger& log_;
  std::map<const transport::Session*, Connection> connections_;
  uint64_t opened_ = 0;
  const SteadyClock clock_;
  const double start_seconds_;
  RequestStats requests_;
};

}  // namespace sluice::daemon
