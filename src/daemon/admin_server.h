// The operator's pages over HTTP: /metrics for Prometheus, /healthz, /readyz. Loopback only.
//
// Not what is measured (counters.h) and no control: pages are read, nothing is changed. Runs on a
// thread of its own and asks the daemon's thread, the owner, for one snapshot a request, so a page
// is an honest sign of life; an owner that does not answer in time gives a 503, never a hang.
// Everything is bounded: connections, header bytes, time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/daemon/admin_pages.h"

namespace sluice::daemon {

struct AdminServerConfig {
  std::string address;                 // as parse_admin_address reads it
  uint32_t connections_max = 16;       // with the last one, the oldest is closed; 2 or more
  uint32_t connection_ms_max = 5'000;  // from accept to the last byte of the answer
  uint32_t owner_ms_max = 1'000;       // for the snapshot
};

class AdminServer {
 public:
  // Any thread; runs the work on the owner's thread, or never once the owner has ended.
  using Post = std::function<void(std::function<void()> work)>;
  // On the owner's thread.
  using TakeSnapshot = std::function<AdminSnapshot()>;

  // Listens and serves. Errors: bad_config (as parse_admin_address), io_error (names the address).
  static Result<std::unique_ptr<AdminServer>> open(const AdminServerConfig& config,
                                                   Post post,
                                                   TakeSnapshot take_snapshot);

  // Closes every connection. Afterwards neither function is called. Owner's thread, or after its
  // end.
  ~AdminServer();

  // "127.0.0.1:9464", with the port that was free.
  std::string address() const;

 private:
  class Impl;
  explicit AdminServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // work on its way to the owner holds it weakly
};

}  // namespace sluice::daemon
