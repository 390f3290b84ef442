#include "src/base/errc.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sluice {
namespace {

constexpr auto kNames = std::to_array<std::pair<Errc, std::string_view>>({
    {Errc::ok, "ok"},
    {Errc::invalid_argument, "invalid_argument"},
    {Errc::unsupported, "unsupported"},
    {Errc::too_large, "too_large"},
    {Errc::output_too_small, "output_too_small"},
    {Errc::truncated, "truncated"},
    {Errc::bad_magic, "bad_magic"},
    {Errc::bad_version, "bad_version"},
    {Errc::reserved_set, "reserved_set"},
    {Errc::bad_checksum, "bad_checksum"},
    {Errc::bad_value, "bad_value"},
    {Errc::identity_mismatch, "identity_mismatch"},
    {Errc::unknown_handle, "unknown_handle"},
    {Errc::layout_mismatch, "layout_mismatch"},
    {Errc::not_found, "not_found"},
    {Errc::no_space, "no_space"},
    {Errc::damaged, "damaged"},
    {Errc::connection_lost, "connection_lost"},
    {Errc::timed_out, "timed_out"},
    {Errc::protocol_error, "protocol_error"},
    {Errc::overloaded, "overloaded"},
    {Errc::draining, "draining"},
    {Errc::io_error, "io_error"},
    {Errc::bad_config, "bad_config"},
});

const std::pair<Errc, std::string_view>* find(Errc code) {
  const auto* it = std::find_if(
      kNames.begin(), kNames.end(), [code](const auto& entry) { return entry.first == code; });
  return it == kNames.end() ? nullptr : it;
}

}  // namespace

std::string_view errc_name(Errc code) {
  const auto* entry = find(code);
  return entry ? entry->second : "unknown";
}

Errc errc_from_wire(uint32_t status) {
  const auto* entry = find(static_cast<Errc>(status));
  return entry ? entry->first : Errc::protocol_error;
}

}  // namespace sluice
