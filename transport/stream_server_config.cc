#include "transport/socket_address.h"
#include "transport/stream_server.h"

namespace sluice::transport {
namespace {

Status in_range(const char* field, uint64_t value, uint64_t low, uint64_t high) {
  if (value < low || value > high) {
    return SLUICE_ERR(Errc::bad_config, "{} is {}, expected {} to {}", field, value, low, high);
  }
  return {};
}

}  // namespace

Status StreamServerConfig::validate() const {
  SLUICE_CHECK(in_range("number of addresses", addresses.size(), 1, kAddressesMax));
  for (const std::string& text : addresses) {
    if (auto address = SocketAddress::parse(text); address.has_error()) {
      return SLUICE_ERR(Errc::bad_config, "{}", address.error().text);
    }
  }
  SLUICE_CHECK(in_range("connections_max", connections_max, 1, 65'536));
  SLUICE_CHECK(in_range("drain_ms_max", drain_ms_max, 0, kDeadlineMsMax));
  SLUICE_CHECK(in_range("requests_in_flight_max", session.requests_in_flight_max, 1, 65'536));
  SLUICE_CHECK(in_range("pages_wanted_max", session.pages_wanted_max, 1, kKeysMax));
  SLUICE_CHECK(in_range("frame_ms_max", session.frame_ms_max, 1, kDeadlineMsMax));
  SLUICE_CHECK(in_range("stall_ms_max", session.stall_ms_max, 1, kDeadlineMsMax));
  SLUICE_CHECK(in_range(
      "request_credit_bytes", session.request_credit_bytes, kCreditBytesMin, kCreditBytesMax));
  return in_range(
      "reply_credit_bytes", session.reply_credit_bytes, kCreditBytesMin, kCreditBytesMax);
}

}  // namespace sluice::transport
