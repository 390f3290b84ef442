// Reading, writing and range checks that several messages share. For messages_*.cc only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/result.h"

namespace sluice::transport {

// Errors: too_large (above), bad_value (below); the text names message, field and range.
Status in_range(
    std::string_view message, std::string_view field, uint64_t value, uint64_t low, uint64_t high);

inline bool is_printable(char c) {
  return c >= ' ' && c <= '~';
}

// At most bytes_max of printable ASCII, as may stand in a log line.
// Errors: too_large, bad_value.
Status printable(std::string_view message,
                 std::string_view field,
                 std::string_view text,
                 size_t bytes_max);

// A text of `bytes` bytes. Errors: truncated.
Result<std::string> read_text(ByteReader& in, size_t bytes, std::string_view field);

// `count` keys. Errors: truncated (before anything is allocated).
Result<std::vector<Hash32>> read_keys(ByteReader& in, uint32_t count);

void write_keys(ByteWriter& out, const std::vector<Hash32>& keys);

inline uint32_t count32(size_t count) {
  return static_cast<uint32_t>(count);
}

}  // namespace sluice::transport
