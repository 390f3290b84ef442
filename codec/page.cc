#include "codec/page.h"

#include <algorithm>

#include "codec/page_check.h"

namespace sluice::codec {

std::string_view encoding_name(Encoding encoding) {
  switch (encoding) {
    case Encoding::raw:
      return "raw";
    case Encoding::direct:
      return "direct";
    case Encoding::progressive:
      return "progressive";
    case Encoding::archive:
      return "archive";
  }
  return "unknown";
}

std::string_view level_name(Level level) {
  switch (level) {
    case Level::exact:
      return "exact";
    case Level::q1:
      return "q1";
    case Level::q2:
      return "q2";
    case Level::q3:
      return "q3";
  }
  return "unknown";
}

uint32_t layers_per_section(const PageGeometry& geometry) {
  uint64_t widest = 1;
  for (const Plane& plane : geometry.planes) {
    widest = std::max(widest, plane.width());
  }
  uint64_t elements = widest * geometry.n_tokens;
  uint64_t layers = (kSectionElements + elements - 1) / elements;
  return static_cast<uint32_t>(std::min<uint64_t>(layers, geometry.layers));
}

uint32_t PageHeader::layer_groups() const {
  return (geometry.layers + layers_per_section - 1) / layers_per_section;
}

size_t PageHeader::section_index(size_t row, uint32_t group, size_t plane) const {
  return (row * layer_groups() + group) * geometry.planes.size() + plane;
}

uint64_t PageHeader::header_bytes() const {
  return kPageFixedBytes + kPlaneEntryBytes * geometry.planes.size() +
         kRowEntryBytes * rows.size() + kSectionEntryBytes * sections.size();
}

uint64_t PageHeader::page_bytes() const {
  return section_offset(sections.size());
}

uint64_t PageHeader::section_offset(size_t index) const {
  uint64_t offset = header_bytes();
  for (size_t i = 0; i < index; ++i) {
    offset += sections[i].bytes;
  }
  return offset;
}

EncodingId encoding_id(ByteSpan header_bytes) {
  Hash32 digest = sha256(header_bytes);
  EncodingId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

Result<SectionRange> select_sections(const PageHeader& header,
                                     size_t row,
                                     uint32_t first_layer,
                                     uint32_t layers) {
  if (row >= header.rows.size() || layers == 0 || first_layer >= header.geometry.layers ||
      layers > header.geometry.layers - first_layer) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "row {} layers {}..+{} asked of a page with {} rows and {} layers",
                      row,
                      first_layer,
                      layers,
                      header.rows.size(),
                      header.geometry.layers);
  }
  uint32_t first_group = first_layer / header.layers_per_section;
  uint32_t last_group = (first_layer + layers - 1) / header.layers_per_section;
  SectionRange range;
  range.first = header.section_index(row, first_group, 0);
  range.count = (last_group - first_group + 1) * header.geometry.planes.size();
  range.offset = header.section_offset(range.first);
  range.bytes = header.section_offset(range.first + range.count) - range.offset;
  range.first_layer = first_group * header.layers_per_section;
  range.layers = last_group * header.layers_per_section + layers_in_group(header, last_group) -
                 range.first_layer;
  return range;
}

Status verify_sections(const PageHeader& header, const SectionRange& range, ByteSpan bytes) {
  size_t row_sections = header.layer_groups() * header.geometry.planes.size();
  SLUICE_TRY(SectionRange expected,
             select_sections(header, range.first / row_sections, range.first_layer, range.layers));
  if (range != expected) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "sections {}..+{} for layers {}..+{} are no range of this page",
                      range.first,
                      range.count,
                      range.first_layer,
                      range.layers);
  }
  uint64_t at = 0;
  for (size_t i = range.first; i < range.first + range.count; ++i) {
    const Section& section = header.sections[i];
    if (bytes.size() - at < section.bytes) {
      return SLUICE_ERR(Errc::truncated,
                        "section {} at offset {}: {} bytes, ends after {}",
                        i,
                        range.offset + at,
                        section.bytes,
                        bytes.size() - at);
    }
    uint64_t computed = xxh3_64(bytes.subspan(at, section.bytes));
    if (computed != section.xxh3) {
      return SLUICE_ERR(Errc::bad_checksum,
                        "section {} at offset {}: checksum {:#018x}, header says {:#018x}",
                        i,
                        range.offset + at,
                        computed,
                        section.xxh3);
    }
    at += section.bytes;
  }
  return {};
}

size_t rows_within(const PageHeader& header, uint64_t page_bytes) {
  size_t rows = 0;
  while (rows < header.rows.size() &&
         header.section_offset(header.section_index(rows + 1, 0, 0)) <= page_bytes) {
    ++rows;
  }
  return rows;
}

Result<PageHeader> verify_page(ByteSpan page) {
  SLUICE_TRY(PageHeader header, parse_page_header(page));
  for (size_t row = 0; row < header.rows.size(); ++row) {
    SLUICE_TRY(SectionRange all, select_sections(header, row, 0, header.geometry.layers));
    SLUICE_CHECK(
        verify_sections(header, all, page.subspan(std::min<uint64_t>(all.offset, page.size()))));
  }
  if (page.size() != header.page_bytes()) {
    return SLUICE_ERR(
        Errc::bad_value, "page of {} bytes, {} given", header.page_bytes(), page.size());
  }
  return header;
}

}  // namespace sluice::codec
