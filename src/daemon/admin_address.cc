#include "src/daemon/admin_address.h"

#include <algorithm>
#include <charconv>

#include <boost/asio/ip/address.hpp>

namespace sluice::daemon {
namespace {

bool parse_port(std::string_view text, uint16_t& port) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  return problem == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<AdminAddress> parse_admin_address(std::string_view text) {
  const size_t colon = std::min(text.rfind(':'), text.size());
  std::string_view host = text.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  AdminAddress address{.host = std::string(host)};
  boost::system::error_code error;
  const auto ip = boost::asio::ip::make_address(address.host, error);
  if (error || colon == text.size() || !parse_port(text.substr(colon + 1), address.port)) {
    return SLUICE_ERR(Errc::bad_config,
                      "'{}' is no address; expected IP:PORT with a port of 1..65535 (0: any that "
                      "is free), e.g. 127.0.0.1:9464 or [::1]:9464",
                      text);
  }
  if (!ip.is_loopback()) {
    return SLUICE_ERR(Errc::bad_config,
                      "other machines could reach {}, and the admin pages ask for no token; use "
                      "127.0.0.1 or [::1], and let an agent or a proxy with TLS pass them on",
                      text);
  }
  return address;
}

}  // namespace sluice::daemon
