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

}  // namespace

uint32_t effective_kl(const codec::PageHeader& header) {
  return std::max(header.rows.back().kl, header.provenance_kl);
}

Status check_page(const codec::PageHeader& header,
                  const OpenSpace& open,
                  const store::Key& key,
                  uint64_t page_bytes) {
  if (header.page_bytes() != page_bytes) {
    return SLUICE_ERR(
        Errc::truncated, "page of {} bytes, its header says {}", page_bytes, header.page_bytes());
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
                          ByteSpan header_bytes,
                          const OpenSpace& open,
                          const store::Key& anchor) {
  store::Record record{.tenant = open.space->tenant,
                       .key = header.page_key,
                       .anchor = anchor,
                       .space_id = open.space->id,
                       .encoding_id = codec::encoding_id(header_bytes),
                       .header_bytes = static_cast<uint32_t>(header_bytes.size()),
                       .rows = static_cast<uint32_t>(header.rows.size()),
                       .quality_kl = effective_kl(header),
                       .preference = static_cast<uint32_t>(header.encoding),
                       .sections = {}};
  size_t row_sections = header.sections.size() / header.rows.size();
  uint64_t end = header_bytes.size();
  record.sections.reserve(header.sections.size());
  for (const codec::Section& section : header.sections) {
    end += section.bytes;
    bool ends_row = (record.sections.size() + 1) % row_sections == 0;
    record.sections.push_back({.end = end, .xxh3 = section.xxh3, .cut = ends_row});
  }
  return record;
}

bool replaces(const store::Record& page, const store::Record& there) {
  return page.quality_kl != there.quality_kl ? page.quality_kl < there.quality_kl
                                             : page.preference > there.preference;
}

}  // namespace sluice::cache
