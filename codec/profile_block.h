// One block of a profile file: channels and basis of one plane of one layer. Private to codec/.
#pragma once

#include <cstdint>

#include "codec/profile.h"
#include "codec/profile_parts.h"
#include "src/base/result.h"

namespace sluice::codec {

// Takes the block that comes next. Errors: bad_value, reserved_set.
Status parse_block(ProfileParts& parts, const Plane& plane, uint32_t layer, PlaneModel& model);

}  // namespace sluice::codec
