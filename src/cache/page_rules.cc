#include "src/cache/page_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace sluice::cache {

namespace {

std::string plane_text(const Plane& plane) {
  return fmt::format("{} {} {}x{}, {} rotated",
                     role_name(plane.role),
                     dtype_name(plane.dtype),
                     plane.heads,
                     plane.dim,
                     plane.rotated_dims);
}

Status check_geometry(const PageGeometry& page, const PageGeometry& space) {
  if (page.layers != space.layers || page.n_tokens != space.n_tokens ||
      page.planes.size() != space.planes.size()) {
    return SLUICE_ERR(Errc::layout_mismatch,
                      "page of {} tokens, {} layers, {} planes; its space has {}, {}, {}",
                      page.n_tokens,
                      page.layers,
                      page.planes.size(),
                      space.n_tokens,
                      space.layers,
                      space.planes.size());
  }
  for (size_t i = 0; i < page.planes.size(); ++i) {
    if (page.planes[i] != space.planes[i]) {
      return SLUICE_ERR(Errc::layout_mismatch,
                        "page plane {}: {}; its space has {}",
                        i,
                        plane_text(page.planes[i]),
                        plane_text(space.planes[i]));
    }
  }
  return {};
}

// Where the first rows of a page end.
uint64_t row_end(const codec::PageHeader& header, size_t rows) {
  uint64_t end = header.header_bytes();
  const size_t sections = header.sections.size() / header.rows.size() * rows;
  for (size_t i = 0; i < sections; ++i) {
    end += header.sections[i].bytes;
  }
  return end;
}

// By who can read a page and how large it is, where quality is equal; more is better.
int rank_of(uint32_t encoding) {
  switch (static_cast<codec::Encoding>(encoding)) {
    case codec::Encoding::direct:
      return 2;
    case codec::Encoding::raw:
      return 1;
    default:
      return 0;
  }
}

static_assert(codec::kRowsMax == store::kRecordRowsMax);

}  // namespace

Status check_page(const codec::PageHeader& header,
                  const OpenSpace& open,
                  const store::Key& key,
                  uint64_t page_bytes) {
  const size_t rows = codec::rows_within(header, page_bytes);
  if (rows == 0 || row_end(header, rows) != page_bytes) {
    return SLUICE_ERR(Errc::truncated,
                      "page of {} bytes, its header says {}: it does not end with a row",
                      page_bytes,
                      header.page_bytes());
  }
  if (header.page_key != key) {
    return SLUICE_ERR(Errc::identity_mismatch,
                      "page put as {} says it is {}",
                      to_hex(key),
                      to_hex(header.page_key));
  }
  SLUICE_CHECK(check_geometry(header.geometry, open.space->geometry));
  if (header.first_position % header.geometry.n_tokens != 0) {
    return SLUICE_ERR(Errc::bad_value,
                      "page begins at position {}, no multiple of its {} tokens: no prefix has it",
                      header.first_position,
                      header.geometry.n_tokens);
  }
  if (header.provenance_kl < open.worst_kl) {
    return SLUICE_ERR(Errc::bad_value,
                      "page stamps provenance {} micro-nats, better than the {} that its client "
                      "declared when it opened the space",
                      header.provenance_kl,
                      open.worst_kl);
  }
  return {};
}

store::Record make_record(const codec::PageHeader& header,
                          ByteSpan page,
                          const OpenSpace& open,
                          const store::Key& anchor) {
  const ByteSpan header_bytes = page.first(header.header_bytes());
  store::Record record{.tenant = open.space->tenant,
                       .key = header.page_key,
                       .anchor = anchor,
                       .space_id = open.space->id,
                       .encoding_id = codec::encoding_id(header_bytes),
                       .header_bytes = static_cast<uint32_t>(header_bytes.size()),
                       .rows = {},
                       .preference = static_cast<uint32_t>(header.encoding),
                       .sections = {}};
  const size_t row_sections = header.sections.size() / header.rows.size();
  record.rows.count = static_cast<uint32_t>(codec::rows_within(header, page.size()));
  uint64_t end = header_bytes.size();
  record.sections.reserve(record.rows.count * row_sections);
  for (uint32_t row = 0; row < record.rows.count; ++row) {
    for (size_t i = row * row_sections; i < (row + 1) * row_sections; ++i) {
      end += header.sections[i].bytes;
      record.sections.push_back({.end = end, .xxh3 = header.sections[i].xxh3});
    }
    record.rows.ends[row] = {.sections = static_cast<uint32_t>(record.sections.size()),
                             .end = static_cast<uint32_t>(end),
                             .quality_kl = std::max(header.rows[row].kl, header.provenance_kl)};
  }
  return record;
}

bool replaces(const store::Record& page, const store::Record& there) {
  if (page.quality_kl() != there.quality_kl()) {
    return page.quality_kl() < there.quality_kl();
  }
  return page.encoding_id == there.encoding_id
             ? page.rows.count > there.rows.count
             : rank_of(page.preference) > rank_of(there.preference);
}

bool has_all_of(const store::Record& there, const store::Record& page) {
  return there.encoding_id == page.encoding_id && there.rows.count >= page.rows.count;
}

}  // namespace sluice::cache
