#include "src/cache/page_part.h"

#include <algorithm>

namespace sluice::cache {

namespace {

Status check_query(const PageQuery& query, const PageGeometry& geometry) {
  if (query.first_row != 0 && query.encoding_id == codec::EncodingId{}) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "page {}: rows from {} asked for, but not of which encoding: those before "
                      "may be of another one",
                      to_hex(query.key),
                      query.first_row);
  }
  const uint64_t end = uint64_t{query.first_layer} + query.layers;
  if (end > geometry.layers || (query.layers == 0 && query.first_layer != 0)) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "page {}: layers {} to {} asked for, it has {}",
                      to_hex(query.key),
                      query.first_layer,
                      end,
                      geometry.layers);
  }
  return {};
}

}  // namespace

uint32_t wanted_rows(const PageQuery& query, const store::RowEnds& rows) {
  const uint32_t enough = rows.within(query.max_kl);
  return enough == 0 ? 0 : std::max(enough, std::min(query.least_rows, rows.count));
}

bool answers(const PageQuery& query,
             const store::RowEnds& rows,
             const codec::EncodingId& encoding_id) {
  return (query.encoding_id == codec::EncodingId{} || query.encoding_id == encoding_id) &&
         wanted_rows(query, rows) != 0 && rows.count >= query.first_row;
}

Result<store::RecordPart> wanted_part(const PageQuery& query,
                                      const store::RowEnds& rows,
                                      const PageGeometry& geometry) {
  SLUICE_CHECK(check_query(query, geometry));
  store::RecordPart part{.rows = std::max(wanted_rows(query, rows), query.first_row), .runs = {}};
  // Sections stand by row, then by group of layers, then by plane.
  const auto planes = static_cast<uint32_t>(geometry.planes.size());
  const uint32_t group_layers = codec::layers_per_section(geometry);
  const uint32_t groups = (geometry.layers + group_layers - 1) / group_layers;
  const bool all = query.layers == 0;
  const uint32_t first_group = query.first_layer / group_layers;
  const uint32_t end_group =
      all ? groups : (query.first_layer + query.layers + group_layers - 1) / group_layers;
  if (first_group == 0 && end_group == groups && query.first_row < part.rows) {
    part.runs.push_back({.first = query.first_row * groups * planes,
                         .count = (part.rows - query.first_row) * groups * planes});
    return part;
  }
  for (uint32_t row = query.first_row; row < part.rows; ++row) {
    part.runs.push_back({.first = (row * groups + first_group) * planes,
                         .count = (end_group - first_group) * planes});
  }
  return part;
}

}  // namespace sluice::cache
