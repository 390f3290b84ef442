// What a GET asks of a page, and which of its rows and sections that is. Pure functions, any
// thread. Spec: codec/FORMAT.md, "Sections"; transport/PROTOCOL.md, "Get page".
#pragma once

#include <cstdint>

#include "codec/page.h"
#include "src/base/result.h"
#include "src/model/geometry.h"
#include "store/record.h"

namespace sluice::cache {

struct PageQuery {
  store::Key key{};
  codec::EncodingId encoding_id{};  // zeros: any encoding
  uint32_t max_kl = 0;              // the worst quality to serve, micro-nats
  uint32_t first_layer = 0;         // of the page's layers, counted from 0, rounded out to sections
  uint32_t layers = 0;              // 0 (and first_layer 0): all
  uint32_t first_row = 0;           // rows before it are not sent again
  uint32_t least_rows = 0;          // so many are sent even if fewer are good enough
};

// How many of these rows a query is answered with, the ones before first_row included: no more
// than its quality needs, but for least_rows. 0: their quality is not within max_kl.
uint32_t wanted_rows(const PageQuery& query, const store::RowEnds& rows);

// Whether a page with these rows, in this encoding, is one that the query asks for.
bool answers(const PageQuery& query,
             const store::RowEnds& rows,
             const codec::EncodingId& encoding_id);

// What the answer is made of, at least one row long where there is nothing to send but the header.
// Requires: answers() is true; the page is of this geometry. Errors: invalid_argument (layers that
// the page does not have; later rows of any encoding).
Result<store::RecordPart> wanted_part(const PageQuery& query,
                                      const store::RowEnds& rows,
                                      const PageGeometry& geometry);

}  // namespace sluice::cache
