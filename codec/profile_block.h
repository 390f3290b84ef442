// One block of a profile file: channels and basis of one plane of one layer. Private to codec/.
#pragma once

#include <cstdint>

#include "codec/profile.h"
#include "src/base/bytes.h"
#include "src/base/result.h"

namespace sluice::codec {

// Parses the block at the front of `rest`, which stands at offset `at` of the file; returns its
// bytes. Errors: bad_value, reserved_set.
Result<size_t> parse_block(
    ByteSpan rest, size_t at, const Plane& plane, uint32_t layer, PlaneModel& model);

}  // namespace sluice::codec
