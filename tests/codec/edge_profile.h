// A profile whose blocks lie at the ends of what the format allows, and KV for it: every basis,
// matrices of one head and of several, every `finer`, scales and widths that are clamped, elements
// that saturate f16 or are denormal, keys that do not rotate.
#pragma once

#include "codec/profile.h"
#include "src/base/bytes.h"
#include "src/model/geometry.h"

namespace sluice::codec {

// Four layers of 32 tokens; keys of 4 heads x 8 dims, values of 4 x 6.
PageGeometry edge_geometry(DType dtype);

// Rows q3, q2 and q1.
Profile edge_profile();

// The same with transforms of values that keep no length, so that sums wrap around.
Profile hostile_profile();

// KV of f16, or of f32 that is exactly f16. Requires: an edge_profile as a reader has it.
Bytes edge_tensors(const Profile& profile, DType dtype, uint64_t first_position);

}  // namespace sluice::codec
