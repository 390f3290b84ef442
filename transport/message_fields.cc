#include "transport/message_fields.h"

#include <algorithm>
#include <cstring>

namespace sluice::transport {

Status in_range(
    std::string_view message, std::string_view field, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) {
    return {};
  }
  return SLUICE_ERR(value > high ? Errc::too_large : Errc::bad_value,
                    "{}: {} is {}, expected {} to {}",
                    message,
                    field,
                    value,
                    low,
                    high);
}

Status printable(std::string_view message,
                 std::string_view field,
                 std::string_view text,
                 size_t bytes_max) {
  SLUICE_CHECK(in_range(message, field, text.size(), 0, bytes_max));
  auto bad = std::find_if_not(text.begin(), text.end(), is_printable);
  if (bad != text.end()) {
    return SLUICE_ERR(Errc::bad_value,
                      "{}: {} has {:#04x} at offset {}, expected printable ASCII",
                      message,
                      field,
                      static_cast<uint8_t>(*bad),
                      bad - text.begin());
  }
  return {};
}

Result<std::string> read_text(ByteReader& in, size_t bytes, std::string_view field) {
  SLUICE_TRY(ByteSpan raw, in.read_bytes(bytes, field));
  return std::string(raw.begin(), raw.end());
}

Result<std::vector<Hash32>> read_keys(ByteReader& in, uint32_t count) {
  SLUICE_TRY(ByteSpan raw, in.read_bytes(size_t{count} * sizeof(Hash32), "keys"));
  std::vector<Hash32> keys(count);
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(keys[i].data(), raw.data() + i * sizeof(Hash32), sizeof(Hash32));
  }
  return keys;
}

void write_keys(ByteWriter& out, const std::vector<Hash32>& keys) {
  for (const Hash32& key : keys) {
    out.write_bytes(key);
  }
}

}  // namespace sluice::transport
