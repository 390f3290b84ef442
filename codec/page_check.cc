#include "codec/page_check.h"

#include <algorithm>
#include <limits>

#include "src/base/limits.h"

namespace sluice::codec {
namespace {

bool is_narrowed(DType dtype, DType stored) {
  return dtype == DType::f32 && (stored == DType::f16 || stored == DType::bf16);
}

Status check_encoding(const PageHeader& header) {
  bool lossy = header.encoding == Encoding::progressive;
  if (header.encoding == Encoding::archive) {
    return SLUICE_ERR(Errc::unsupported,
                      "page header: encoding archive is reserved, this version reads raw, direct "
                      "and progressive");
  }
  if (!lossy && header.encoding != Encoding::raw && header.encoding != Encoding::direct) {
    return SLUICE_ERR(
        Errc::bad_value, "page header: encoding {} is none of 1..4", int(header.encoding));
  }
  if (header.rows.empty() || header.rows.size() > (lossy ? kRowsMax : 1)) {
    return SLUICE_ERR(Errc::bad_value,
                      "page header: {} rows under encoding {}, expected 1{}",
                      header.rows.size(),
                      encoding_name(header.encoding),
                      lossy ? " to 4" : "");
  }
  if ((header.profile_digest != Hash32{}) != lossy) {
    return SLUICE_ERR(Errc::bad_value,
                      "page header: encoding {} with profile digest {}: progressive has one, "
                      "others have zeros",
                      encoding_name(header.encoding),
                      to_hex(header.profile_digest));
  }
  if (lossy) {
    return check_lossy_rows(header.rows, "page header");
  }
  if (header.rows[0] != Row{}) {
    return SLUICE_ERR(Errc::bad_value,
                      "page header: row of level {} ({}), kl {} under encoding {}, which is exact: "
                      "expected level 0, kl 0",
                      level_name(header.rows[0].level),
                      int(header.rows[0].level),
                      header.rows[0].kl,
                      encoding_name(header.encoding));
  }
  return {};
}

Status check_stored(const PageHeader& header) {
  const std::vector<Plane>& planes = header.geometry.planes;
  if (header.stored.size() != planes.size()) {
    return SLUICE_ERR(Errc::bad_value,
                      "page header: {} stored dtypes for {} planes",
                      header.stored.size(),
                      planes.size());
  }
  for (size_t i = 0; i < planes.size(); ++i) {
    bool is_exact = header.rows.back().level == Level::exact;  // in the end
    bool codes = is_exact && header.encoding != Encoding::raw && is_tensor_role(planes[i].role);
    bool narrowed = codes && is_narrowed(planes[i].dtype, header.stored[i]);
    bool needed =
        codes && header.encoding == Encoding::progressive && planes[i].dtype == DType::f32;
    if (needed ? !narrowed : header.stored[i] != planes[i].dtype && !narrowed) {
      return SLUICE_ERR(Errc::bad_value,
                        "page header: plane {} ({}) of {} stored as {} ({}) under encoding {}",
                        i,
                        role_name(planes[i].role),
                        dtype_name(planes[i].dtype),
                        dtype_name(header.stored[i]),
                        int(header.stored[i]),
                        encoding_name(header.encoding));
    }
  }
  return {};
}

// `raw_bytes`: of the section's source elements. A later row has nothing of one that the first row
// stores raw.
Status check_section(const PageHeader& header,
                     size_t index,
                     size_t index_of_first_row,
                     uint64_t raw_bytes,
                     size_t plane) {
  const Section& section = header.sections[index];
  if (index != index_of_first_row &&
      (header.sections[index_of_first_row].flags & kSectionStoredRaw) != 0) {
    raw_bytes = 0;
  }
  if ((section.flags & ~kSectionStoredRaw) != 0) {
    return SLUICE_ERR(Errc::reserved_set,
                      "section {} at offset {}: flags {:#x}, expected 0 or 1",
                      index,
                      header.section_offset(index),
                      section.flags);
  }
  bool stored_raw = (section.flags & kSectionStoredRaw) != 0;
  bool fits = stored_raw       ? section.bytes == raw_bytes && index == index_of_first_row
              : raw_bytes == 0 ? section.bytes == 0
                               : is_codable(header, plane) && section.bytes < raw_bytes;
  if (!fits) {
    return SLUICE_ERR(
        Errc::bad_value,
        "section {} at offset {}: {} bytes with flags {:#x} for {} source bytes of {} "
        "under {}",
        index,
        header.section_offset(index),
        section.bytes,
        section.flags,
        raw_bytes,
        dtype_name(header.stored[plane]),
        encoding_name(header.encoding));
  }
  return {};
}

Status check_sections(const PageHeader& header) {
  const PageGeometry& geometry = header.geometry;
  if (header.layers_per_section != layers_per_section(geometry)) {
    return SLUICE_ERR(Errc::bad_value,
                      "page header: {} layers a section, this geometry has {}",
                      header.layers_per_section,
                      layers_per_section(geometry));
  }
  size_t count = header.rows.size() * header.layer_groups() * geometry.planes.size();
  if (header.sections.size() != count) {
    return SLUICE_ERR(Errc::bad_value,
                      "page header: {} section entries, expected {}",
                      header.sections.size(),
                      count);
  }
  for (size_t i = 0; i < count; ++i) {
    const size_t in_row = i % (count / header.rows.size());
    const auto group = static_cast<uint32_t>(in_row / geometry.planes.size());
    const size_t plane = in_row % geometry.planes.size();
    uint64_t raw_bytes = geometry.plane_bytes(plane) * layers_in_group(header, group);
    SLUICE_CHECK(check_section(header, i, in_row, raw_bytes, plane));
  }
  return {};
}

}  // namespace

bool is_tensor_role(PlaneRole role) {
  return role == PlaneRole::k || role == PlaneRole::v || role == PlaneRole::latent;
}

bool is_codable(const PageHeader& header, size_t plane) {
  DType stored = header.stored[plane];
  bool wide = header.encoding == Encoding::progressive && stored == DType::f32;
  return header.encoding != Encoding::raw && is_tensor_role(header.geometry.planes[plane].role) &&
         (wide || stored == DType::f16 || stored == DType::bf16);
}

uint32_t layers_in_group(const PageHeader& header, uint32_t group) {
  uint32_t first = group * header.layers_per_section;
  return std::min(header.layers_per_section, header.geometry.layers - first);
}

Status check_page_geometry(const PageGeometry& geometry) {
  for (const Plane& plane : geometry.planes) {
    if (plane.heads > std::numeric_limits<uint16_t>::max()) {
      return SLUICE_ERR(Errc::too_large, "page header: {} heads, at most 65535", plane.heads);
    }
  }
  SLUICE_CHECK(geometry.validate());
  if (geometry.n_tokens % kPageTokensStep != 0) {
    return SLUICE_ERR(Errc::bad_value,
                      "page header: {} tokens a page, expected a multiple of {}",
                      geometry.n_tokens,
                      kPageTokensStep);
  }
  return {};
}

Status check_lossy_rows(std::span<const Row> rows, std::string_view what) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    const bool is_first = i == 0, is_exact = row.level == Level::exact;
    const bool follows = !is_first && int(row.level) == int(rows[i - 1].level) - 1;
    const bool level_fits = is_exact   ? !is_first && i + 1 == rows.size()
                            : is_first ? row.level <= Level::q3
                                       : follows;
    const bool kl_fits =
        is_exact ? row.kl == 0 : row.kl != 0 && (is_first || row.kl <= rows[i - 1].kl);
    if (!level_fits || !kl_fits) {
      return SLUICE_ERR(
          Errc::bad_value,
          "{}: row {} of level {} ({}), kl {}: levels fall from q3 or below without a "
          "gap, kl is at least 1 and does not rise; then exact of kl 0, if at all",
          what,
          i,
          level_name(row.level),
          int(row.level),
          row.kl);
    }
  }
  return {};
}

Status check_page_header(const PageHeader& header) {
  SLUICE_CHECK(check_encoding(header));
  SLUICE_CHECK(check_page_geometry(header.geometry));
  SLUICE_CHECK(check_stored(header));
  SLUICE_CHECK(check_sections(header));
  if (header.header_bytes() > kPageHeaderBytesMax || header.page_bytes() > kPageBytesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "page of {} bytes with a header of {}, at most {} and {}",
                      header.page_bytes(),
                      header.header_bytes(),
                      kPageBytesMax,
                      kPageHeaderBytesMax);
  }
  return {};
}

}  // namespace sluice::codec
