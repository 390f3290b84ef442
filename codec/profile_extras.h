// The extras of a profile file (FORMAT.md, "Profile extras"): what stands beside the codec's own
// material. Private to codec/. Pure; every byte read is untrusted.
#pragma once

#include <vector>

#include "codec/profile.h"
#include "src/base/bytes.h"
#include "src/base/result.h"

namespace sluice::codec {

// Parses all extras of a file; they begin at offset `at` of it. Errors: bad_value.
Result<std::vector<ProfileExtra>> parse_extras(ByteSpan bytes, size_t at);

}  // namespace sluice::codec
