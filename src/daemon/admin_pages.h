// What the admin server answers, without HTTP and sockets: pure functions, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/metrics/metrics.h"

namespace sluice::daemon {

// What the pages show, as it was at one moment on the daemon's thread.
struct AdminSnapshot {
  bool ready = false;  // serving and not draining
  std::vector<metrics::Family> metrics;
};

struct AdminRequest {
  bool get = false;  // the method
  bool has_body = false;
  std::string_view path;  // without a query
};

struct AdminPage {
  uint16_t status = 200;  // of HTTP
  std::string text;
};

// The answer to a request that is for none of the pages; none if it is for one.
std::optional<AdminPage> refuse_admin_request(const AdminRequest& request);

// Requires: refuse_admin_request() had nothing against `path`.
AdminPage show_admin_page(std::string_view path, const AdminSnapshot& snapshot);

// Instead of a page whose snapshot did not come.
AdminPage owner_is_stuck(uint32_t waited_ms);

}  // namespace sluice::daemon
