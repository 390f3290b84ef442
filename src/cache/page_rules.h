// Which pages may be stored, and which replace which. Pure functions, any thread.
// Spec: codec/FORMAT.md, "Page".
#pragma once

#include <cstdint>

#include "codec/page.h"
#include "src/base/result.h"
#include "src/cache/space_table.h"
#include "store/record.h"

namespace sluice::cache {

// Quality of KV as a reader gets it: the worse of what encoding cost and what the KV was computed
// on. Micro-nats.
uint32_t effective_kl(const codec::PageHeader& header);

// Checks that a page of `page_bytes` is what its put said and its space holds, before its sections
// are hashed. Errors: truncated (another length than the header's), identity_mismatch (another
// page's key), layout_mismatch (planes, layers or tokens; the text names which), bad_value (stamps
// better provenance than its client declared).
Status check_page(const codec::PageHeader& header,
                  const OpenSpace& open,
                  const store::Key& key,
                  uint64_t page_bytes);

// The record of a page. `header_bytes`: the header and nothing behind it, as `header` was parsed
// from.
store::Record make_record(const codec::PageHeader& header,
                          ByteSpan header_bytes,
                          const OpenSpace& open,
                          const store::Key& anchor);

// Whether a whole page takes the place of another under its key: better quality does, worse never;
// at equal quality raw yields to direct and direct to progressive, else the first stays.
bool replaces(const store::Record& page, const store::Record& there);

}  // namespace sluice::cache
