#include "src/daemon/admin_pages.h"

#include <fmt/format.h>

namespace sluice::daemon {

std::optional<AdminPage> refuse_admin_request(const AdminRequest& request) {
  if (!request.get) {
    return AdminPage{405, "only GET is served here\n"};
  }
  if (request.has_body) {
    return AdminPage{400, "a request has no body here\n"};
  }
  if (request.path != "/metrics" && request.path != "/healthz" && request.path != "/readyz") {
    return AdminPage{404, "there are /metrics, /healthz and /readyz\n"};
  }
  return std::nullopt;
}

AdminPage show_admin_page(std::string_view path, const AdminSnapshot& snapshot) {
  if (path == "/metrics") {
    return {200, metrics::prometheus_text(snapshot.metrics)};
  }
  if (path == "/readyz" && !snapshot.ready) {
    return {503, "draining: no new requests are taken\n"};
  }
  return {200, "ok\n"};
}

AdminPage owner_is_stuck(uint32_t waited_ms) {
  return {503, fmt::format("the daemon's thread did not answer within {} ms\n", waited_ms)};
}

}  // namespace sluice::daemon
