// Pages as they are stored, whole or without their last rows: for refinement, and for tools.
//
// Space::get_encoded, refine and decode_encoded (space.h) are here too. Pure functions, any thread.
#pragma once

#include "codec/page.h"
#include "src/base/result.h"
#include "src/client/space.h"

namespace sluice::client {

// Checks header, length and every section of a page that ends after any of its rows. Returns the
// header. Errors: as codec::verify_page; truncated also where no row ends there.
Result<codec::PageHeader> verify_rows(ByteSpan page);

// How good the rows are that are there: the worse of theirs and of the page's provenance.
// Errors: damaged (no header that says so).
Result<uint32_t> encoded_kl(const EncodedPage& page);

}  // namespace sluice::client
