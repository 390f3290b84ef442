// Pages of released versions, which every later version must read: tests/golden/codec.
#pragma once

#include <string>

#include "src/base/bytes.h"

namespace sluice::codec {

// The bytes of a golden file, empty (and a failed test) if there is none.
Bytes read_golden(const std::string& name);

// Writes a golden file; only under SLUICE_WRITE_GOLDEN=1, when a new version gets its pages.
bool writes_golden();
void write_golden(const std::string& name, ByteSpan bytes);

}  // namespace sluice::codec
