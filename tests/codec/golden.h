// Pages of released versions, which every later version must read: tests/golden/codec.
#pragma once

#include <string>

#include "codec/codec.h"
#include "src/base/bytes.h"

namespace sluice::codec {

// The bytes of a golden file, empty (and a failed test) if there is none.
Bytes read_golden(const std::string& name);

// Writes a golden file; only under SLUICE_WRITE_GOLDEN=1, when a new version gets its pages.
bool writes_golden();
void write_golden(const std::string& name, ByteSpan bytes);

// The page key of golden pages.
Hash32 sample_key();

// What both sets of kernels decode of a page's whole rows; a failed test if they differ.
Bytes decoded_by_all(const PageHeader& header, ByteSpan page, const Profile* profile);

}  // namespace sluice::codec
