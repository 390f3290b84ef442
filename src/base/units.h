// Sizes and durations as people write them in config files and on command lines.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace sluice {

// Bytes of "64MiB", "1GiB", "500kB", "4096". Binary (KiB, MiB, GiB, TiB) and decimal (kB, MB, GB,
// TB) units, a whole number before them. Errors: bad_value.
Result<uint64_t> parse_bytes(std::string_view text);

// Milliseconds of "250ms", "30s", "5min". Errors: bad_value.
Result<uint64_t> parse_milliseconds(std::string_view text);

// "1.5 GiB": three significant digits at most, binary units.
std::string format_bytes(uint64_t bytes);

}  // namespace sluice
