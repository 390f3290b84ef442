// Where the admin pages may be served.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace sluice::daemon {

struct AdminAddress {
  std::string host;   // an IP address of this machine's loopback
  uint16_t port = 0;  // 0: any that is free
};

// The address of "127.0.0.1:9464" or "[::1]:9464". Errors: bad_config (another form, or an address
// that other machines reach).
Result<AdminAddress> parse_admin_address(std::string_view text);

}  // namespace sluice::daemon
