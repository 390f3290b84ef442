// What each stage of the page codec takes by itself, on all layers of one page.
#pragma once

#include <string>

#include "codec/profile.h"
#include "src/base/bytes.h"
#include "src/model/geometry.h"

namespace sluice::codec {

// Registers stage_NAME/STAGE/KERNELS for both sets of kernels. `tensors`: a page of bf16 or f16 KV
// that begins at `first_position`. All but `name` outlive the run. items_per_second counts
// elements.
void add_stage_benches(const std::string& name,
                       const Profile& profile,
                       const PageGeometry& geometry,
                       ByteSpan tensors,
                       uint64_t first_position);

}  // namespace sluice::codec
