// Forged pages and profiles: bytes changed, checksums right.
#pragma once

#include "src/base/bytes.h"

namespace sluice::codec {

// Writes the checksums of all sections and of the header anew, as far as the page's own lengths
// reach.
void restamp(Bytes& page);

// Writes length and check of a profile file anew.
void restamp_profile(Bytes& file);

}  // namespace sluice::codec
