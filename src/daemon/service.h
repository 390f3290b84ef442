// Answers the requests of every connection out of the page cache, and logs what an operator needs.
//
// Not sockets (transport) and not cache rules (src/cache): this file only translates. One thread,
// the server's. Each connection has handles and pending puts of its own, which end with it; what
// the cache answers later finds its connection by number, or is dropped.
#pragma once

#include <spdlog/logger.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "src/base/checksum.h"
#include "src/base/clock.h"
#include "src/cache/page_cache.h"
#include "src/daemon/counters.h"
#include "transport/stream_server.h"

namespace sluice::daemon {

class Service final : public transport::SessionHandler {
 public:
  // Both must outlive the service. token_sha256: of the token that peers over TCP must bring;
  // nothing: none is asked for.
  Service(cache::PageCache& cache,
          spdlog::logger& log,
          std::optional<Hash32> token_sha256 = std::nullopt);

  void on_open(transport::Session& session, const transport::Peer& peer) override;
  void on_event(transport::Session& session, transport::Event event) override;
  void on_close(transport::Session& session, const Error* error) override;

  DaemonStats stats() const;

 private:
  struct PutUnderWay {
    cache::PendingPut put;
    transport::RequestInfo info;
  };

  struct Connection {
    uint64_t number = 0;  // in log lines
    bool needs_token = false;
    cache::HandleTable handles;
    std::map<transport::RequestId, PutUnderWay> puts;
  };

  // One request, for as long as its answer takes.
  struct Asked {
    transport::Session* session = nullptr;
    uint64_t connection = 0;  // its number: a session of that address may be another one later
    transport::RequestInfo info;
    Op op = Op::hello;
    uint64_t began_ns = 0;
  };

  using Reply = Result<transport::ReplyBody>;

  Status check_token(const transport::HelloRequest& hello) const;
  Reply answer(Connection& connection, const transport::HelloRequest& hello);
  Reply answer(Connection& connection, const transport::OpenRequest& open);
  Reply answer(Connection& connection, const transport::LookupRequest& lookup);
  Reply answer(Connection& connection, const transport::StatsRequest& stats);
  Reply answer(Connection& connection, const transport::GetProfileRequest& get);

  // What is answered at once, and what may take the disk.
  template <class Body>
  void serve(const Asked& asked, Connection& connection, const Body& body);
  void serve(const Asked& asked, Connection& connection, const transport::DamagedRequest& damaged);
  void serve(const Asked& asked, Connection& connection, const transport::DeleteRequest& erase);
  void serve(const Asked& asked, Connection& connection, const transport::PutProfileRequest& put);

  void on(transport::Session& session, Connection& connection, transport::RequestEvent& event);
  void on(transport::Session& session, Connection& connection, transport::GetPageEvent& event);
  void on(transport::Session& session, Connection& connection, transport::PutBeginEvent& event);
  void on(transport::Session& session, Connection& connection, transport::PutEndEvent& event);
  void on(transport::Session& session, Connection& connection, transport::PutAbortedEvent& event);

  Result<cache::PendingPut> begin_put(Connection& connection, const transport::PutRequest& put);

  Asked asked(transport::Session& session,
              const Connection& connection,
              const transport::RequestInfo& info,
              Op op) const;
  // The session that asked, or null where it has ended.
  transport::Session* open_session(const Asked& asked) const;
  void finish(const Asked& asked, const Reply& reply);
  void finish_page(const Asked& asked,
                   const transport::GetPageRequest& page,
                   uint32_t page_index,
                   const Result<cache::PageAnswer>& answer);
  void count_refused(const Asked& asked, Errc code);
  // "connection=7 trace=0123... op=get", the fields that every line about a request begins with.
  static std::string log_fields(const Asked& asked);

  cache::PageCache& cache_;
  spdlog::logger& log_;
  const std::optional<Hash32> token_sha256_;
  std::map<transport::Session*, Connection> connections_;
  uint64_t opened_ = 0;
  const SteadyClock clock_;
  const double start_seconds_;
  RequestStats requests_;
};

}  // namespace sluice::daemon
