#include <algorithm>

#include "codec/field_access.h"
#include "codec/page.h"
#include "codec/page_check.h"
#include "codec/page_layout.h"
#include "src/base/limits.h"

namespace sluice::codec {
namespace {

constexpr std::string_view kWhat = "page header";

Status parse_planes(ByteSpan entries, uint64_t offset, PageHeader& header) {
  for (; !entries.empty(); entries = entries.subspan(kPlaneEntryBytes)) {
    const auto dtype_of = [&](const Field& field) {
      return of_entry(kWhat, offset, dtype_from_wire(load_field<uint8_t>(entries, field)));
    };
    Plane plane;
    const auto role = load_field<uint8_t>(entries, layout::kPlaneRole);
    SLUICE_TRY(plane.role, of_entry(kWhat, offset, role_from_wire(role)));
    SLUICE_TRY(plane.dtype, dtype_of(layout::kPlaneDtype));
    SLUICE_TRY(DType stored, dtype_of(layout::kPlaneStored));
    plane.heads = load_field<uint16_t>(entries, layout::kPlaneHeads);
    plane.dim = load_field<uint32_t>(entries, layout::kPlaneDim);
    plane.rotated_dims = load_field<uint32_t>(entries, layout::kPlaneRotated);
    SLUICE_CHECK(expect_zero(entries, layout::kPlaneReserved0, kWhat, offset));
    SLUICE_CHECK(expect_zero(entries, layout::kPlaneReserved1, kWhat, offset));
    header.geometry.planes.push_back(plane);
    header.stored.push_back(stored);
    offset += kPlaneEntryBytes;
  }
  return {};
}

Status parse_rows(ByteSpan entries, uint64_t offset, PageHeader& header) {
  for (; !entries.empty(); entries = entries.subspan(kRowEntryBytes)) {
    SLUICE_CHECK(expect_zero(entries, layout::kRowReserved, kWhat, offset));
    header.rows.push_back(
        {.level = static_cast<Level>(load_field<uint8_t>(entries, layout::kRowLevel)),
         .kl = load_field<uint32_t>(entries, layout::kRowKl)});
    offset += kRowEntryBytes;
  }
  return {};
}

void parse_sections(ByteSpan entries, PageHeader& header) {
  header.sections.reserve(entries.size() / kSectionEntryBytes);
  for (; !entries.empty(); entries = entries.subspan(kSectionEntryBytes)) {
    header.sections.push_back({.bytes = load_field<uint32_t>(entries, layout::kSectionBytes),
                               .flags = load_field<uint32_t>(entries, layout::kSectionFlags),
                               .xxh3 = load_field<uint64_t>(entries, layout::kSectionXxh3)});
  }
}

// The header's bytes, whole and with the right checksum.
Result<ByteSpan> checked_header_bytes(ByteSpan page) {
  SLUICE_TRY(uint32_t header_bytes, peek_header_bytes(page));
  if (page.size() < header_bytes) {
    return SLUICE_ERR(
        Errc::truncated, "page header: {} bytes, ends after {}", header_bytes, page.size());
  }
  ByteSpan bytes = page.first(header_bytes);
  uint64_t stored = load_field<uint64_t>(bytes, layout::kHeaderXxh3);
  uint64_t computed = xxh3_64(bytes.subspan(layout::kChecksummedFrom));
  if (stored != computed) {
    return SLUICE_ERR(
        Errc::bad_checksum, "page header: checksum {:#018x}, stored {:#018x}", computed, stored);
  }
  return bytes;
}

void store_entries(const PageHeader& header, MutByteSpan out) {
  for (size_t i = 0; i < header.geometry.planes.size(); ++i) {
    const Plane& plane = header.geometry.planes[i];
    store_field(out, layout::kPlaneRole, static_cast<uint8_t>(plane.role));
    store_field(out, layout::kPlaneDtype, static_cast<uint8_t>(plane.dtype));
    store_field(out, layout::kPlaneStored, static_cast<uint8_t>(header.stored[i]));
    store_field(out, layout::kPlaneHeads, static_cast<uint16_t>(plane.heads));
    store_field(out, layout::kPlaneDim, plane.dim);
    store_field(out, layout::kPlaneRotated, plane.rotated_dims);
    out = out.subspan(kPlaneEntryBytes);
  }
  for (const Row& row : header.rows) {
    store_field(out, layout::kRowLevel, static_cast<uint8_t>(row.level));
    store_field(out, layout::kRowKl, row.kl);
    out = out.subspan(kRowEntryBytes);
  }
  for (const Section& section : header.sections) {
    store_field(out, layout::kSectionBytes, section.bytes);
    store_field(out, layout::kSectionFlags, section.flags);
    store_field(out, layout::kSectionXxh3, section.xxh3);
    out = out.subspan(kSectionEntryBytes);
  }
}

}  // namespace

Result<uint32_t> peek_header_bytes(ByteSpan page) {
  if (page.size() < kPageFixedBytes) {
    return SLUICE_ERR(Errc::truncated,
                      "page header: {} bytes, the fixed part has {}",
                      page.size(),
                      kPageFixedBytes);
  }
  uint32_t magic = load_field<uint32_t>(page, layout::kMagic);
  if (magic != layout::kMagicValue) {
    return SLUICE_ERR(Errc::bad_magic,
                      "page header: magic {:#010x}, expected {:#010x}",
                      magic,
                      layout::kMagicValue);
  }
  uint32_t version = load_field<uint32_t>(page, layout::kVersion);
  if (version != layout::kVersionValue) {
    return SLUICE_ERR(Errc::bad_version,
                      "page header: version {}, this version reads {}",
                      version,
                      layout::kVersionValue);
  }
  uint32_t header_bytes = load_field<uint32_t>(page, layout::kHeaderBytes);
  if (header_bytes > kPageHeaderBytesMax) {
    return SLUICE_ERR(
        Errc::too_large, "page header: {} bytes, at most {}", header_bytes, kPageHeaderBytesMax);
  }
  if (header_bytes < kPageFixedBytes) {
    return SLUICE_ERR(Errc::bad_value,
                      "page header: says {} bytes, the fixed part alone has {}",
                      header_bytes,
                      kPageFixedBytes);
  }
  return header_bytes;
}

Result<PageHeader> parse_page_header(ByteSpan page) {
  SLUICE_TRY(ByteSpan bytes, checked_header_bytes(page));
  SLUICE_CHECK(expect_zero(bytes, layout::kReserved0, kWhat, 0));
  SLUICE_CHECK(expect_zero(bytes, layout::kReserved1, kWhat, 0));
  PageHeader header;
  std::copy_n(bytes.data() + layout::kPageKey.at, header.page_key.size(), header.page_key.data());
  std::copy_n(bytes.data() + layout::kProfileDigest.at,
              header.profile_digest.size(),
              header.profile_digest.data());
  header.encoding = static_cast<Encoding>(load_field<uint8_t>(bytes, layout::kEncoding));
  header.provenance_kl = load_field<uint32_t>(bytes, layout::kProvenanceKl);
  header.first_position = load_field<uint64_t>(bytes, layout::kFirstPosition);
  header.geometry.layers = load_field<uint32_t>(bytes, layout::kLayers);
  header.geometry.n_tokens = load_field<uint32_t>(bytes, layout::kTokens);
  header.layers_per_section = load_field<uint32_t>(bytes, layout::kLayersPerSection);

  size_t planes = load_field<uint8_t>(bytes, layout::kPlanes);
  if (planes == 0 || planes > kPlanesMax) {
    return SLUICE_ERR(
        Errc::bad_value, "page header: {} planes, expected 1..{}", planes, kPlanesMax);
  }
  size_t planes_bytes = kPlaneEntryBytes * planes;
  size_t rows_bytes = kRowEntryBytes * load_field<uint8_t>(bytes, layout::kRows);
  size_t sections_at = kPageFixedBytes + planes_bytes + rows_bytes;
  if (sections_at > bytes.size() || (bytes.size() - sections_at) % kSectionEntryBytes != 0) {
    return SLUICE_ERR(Errc::bad_value,
                      "page header: {} bytes do not hold whole entries behind offset {}",
                      bytes.size(),
                      sections_at);
  }
  size_t rows_at = kPageFixedBytes + planes_bytes;
  SLUICE_CHECK(parse_planes(bytes.subspan(kPageFixedBytes, planes_bytes), kPageFixedBytes, header));
  SLUICE_CHECK(parse_rows(bytes.subspan(rows_at, rows_bytes), rows_at, header));
  parse_sections(bytes.subspan(sections_at), header);
  SLUICE_CHECK(check_page_header(header));
  return header;
}

Result<Bytes> serialise_page_header(const PageHeader& header) {
  SLUICE_CHECK(check_page_header(header));
  Bytes out(header.header_bytes());
  store_field(out, layout::kMagic, layout::kMagicValue);
  store_field(out, layout::kVersion, layout::kVersionValue);
  store_field(out, layout::kHeaderBytes, static_cast<uint32_t>(out.size()));
  store_field(out, layout::kEncoding, static_cast<uint8_t>(header.encoding));
  store_field(out, layout::kPlanes, static_cast<uint8_t>(header.geometry.planes.size()));
  store_field(out, layout::kRows, static_cast<uint8_t>(header.rows.size()));
  std::copy(header.page_key.begin(), header.page_key.end(), out.begin() + layout::kPageKey.at);
  std::copy(header.profile_digest.begin(),
            header.profile_digest.end(),
            out.begin() + layout::kProfileDigest.at);
  store_field(out, layout::kProvenanceKl, header.provenance_kl);
  store_field(out, layout::kLayers, header.geometry.layers);
  store_field(out, layout::kLayersPerSection, header.layers_per_section);
  store_field(out, layout::kTokens, header.geometry.n_tokens);
  store_field(out, layout::kFirstPosition, header.first_position);
  store_entries(header, MutByteSpan(out).subspan(kPageFixedBytes));
  store_field(out, layout::kHeaderXxh3, xxh3_64(ByteSpan(out).subspan(layout::kChecksummedFrom)));
  return out;
}

}  // namespace sluice::codec
