// Comparing secrets.
#pragma once

#include "src/base/checksum.h"

namespace sluice {

// Whether they are equal, in a time that does not say where they differ.
bool equal_in_constant_time(const Hash32& a, const Hash32& b);

}  // namespace sluice
