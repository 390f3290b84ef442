// Fields of the log's structures (log_layout.h) in bytes. Private to the files that write and parse
// these.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>
#include <type_traits>

#include "src/base/bytes.h"
#include "src/base/field.h"
#include "src/base/result.h"

namespace sluice::store {

template <class T>
void put(MutByteSpan out, const Field& field, T value) {
  SLUICE_ASSERT(field.bytes == sizeof value);
  store_le<T>(out.data() + field.at, value);
}

template <size_t N>
void put(MutByteSpan out, const Field& field, const std::array<uint8_t, N>& value) {
  SLUICE_ASSERT(field.bytes == N);
  std::copy(value.begin(), value.end(), out.data() + field.at);
}

template <class T>
T get(ByteSpan bytes, const Field& field) {
  if constexpr (std::is_unsigned_v<T>) {
    return load_le<T>(bytes.data() + field.at);
  } else {
    T value;
    std::copy_n(bytes.data() + field.at, value.size(), value.begin());
    return value;
  }
}

// Errors: reserved_set.
inline Status expect_zeros(std::string_view what, ByteSpan bytes, const Field& field) {
  ByteSpan raw = bytes.subspan(field.at, field.bytes);
  auto bad = std::find_if(raw.begin(), raw.end(), [](uint8_t byte) { return byte != 0; });
  if (bad != raw.end()) {
    return SLUICE_ERR(Errc::reserved_set,
                      "{}: reserved field '{}' has {:#04x} at offset {}, expected 0",
                      what,
                      field.name,
                      *bad,
                      field.at + (bad - raw.begin()));
  }
  return {};
}

// Errors: bad_value.
inline Status expect_range(std::string_view field, uint64_t value, uint64_t least, uint64_t most) {
  if (value < least || value > most) {
    return SLUICE_ERR(
        Errc::bad_value, "log entry: {} is {}, allowed {} to {}", field, value, least, most);
  }
  return {};
}

}  // namespace sluice::store
