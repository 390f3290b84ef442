// Which pages may be stored, and which replace which. Pure functions, any thread.
// Spec: codec/FORMAT.md, "Header" and "Rows".
#pragma once

#include <cstdint>

#include "codec/page.h"
#include "src/base/result.h"
#include "src/cache/space_table.h"
#include "store/record.h"

namespace sluice::cache {

// Checks that a page of `page_bytes` is what its put said and its space holds, before its sections
// are hashed. It may lack its last rows. Errors: truncated (it does not end with a row),
// identity_mismatch (another
// page's key), layout_mismatch (planes, layers or tokens; the text names which), bad_value (stamps
// better provenance than its client declared).
Status check_page(const codec::PageHeader& header,
                  const OpenSpace& open,
                  const store::Key& key,
                  uint64_t page_bytes);

// The record of a page that check_page() found good: its whole rows. Quality of a row is the worse
// of what encoding cost up to it and of what the KV was computed on.
// Requires: `page` begins with the header that `header` was parsed from.
store::Record make_record(const codec::PageHeader& header,
                          ByteSpan page,
                          const OpenSpace& open,
                          const store::Key& anchor);

// Whether a page takes the place of another under its key: better quality does, worse never. At
// equal quality of one encoding more rows do; progressive yields to raw, which needs no profile to
// be read, and both to direct; else the first stays. So whoever could read a page still can.
bool replaces(const store::Record& page, const store::Record& there);

// Whether all rows of `page` are in `there`.
bool has_all_of(const store::Record& there, const store::Record& page);

}  // namespace sluice::cache
