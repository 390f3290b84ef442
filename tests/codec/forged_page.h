// Progressive pages with values that no encoder comes to, all checksums right: refinements and
// coefficients that wrap around, and any elements behind them.
#pragma once

#include "codec/profile.h"
#include "src/base/bytes.h"
#include "src/model/geometry.h"

namespace sluice::codec {

struct ForgedPage {
  Bytes page;    // rows q3, q2, q1 and exact
  Bytes source;  // what all rows give
};

// Requires: a profile of rows q3, q2 and q1; planes of 16 bits; one group of layers.
ForgedPage forged_page(const Profile& profile, const PageGeometry& geometry, uint64_t seed);

}  // namespace sluice::codec
