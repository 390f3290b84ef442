// Forged pages: bytes changed, checksums right.
#pragma once

#include "src/base/bytes.h"

namespace sluice::codec {

// Writes the checksums of all sections and of the header anew, as far as the page's own lengths
// reach.
void restamp(Bytes& page);

}  // namespace sluice::codec
