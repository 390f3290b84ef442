#include "codec/codec.h"

#include <algorithm>

#include "codec/elements.h"
#include "codec/page_check.h"
#include "codec/section_coding.h"
#include "codec/section_slice.h"
#include "src/base/limits.h"

namespace sluice::codec {
namespace {

// The dtype that a plane's sections code under `direct`.
DType stored_dtype(const PageGeometry& geometry, size_t plane, ByteSpan tensors) {
  if (geometry.planes[plane].dtype != DType::f32 || !is_tensor_role(geometry.planes[plane].role)) {
    return geometry.planes[plane].dtype;
  }
  SectionSlice all{.index = 0, .plane = plane, .first_layer = 0, .layers = geometry.layers};
  for (DType narrow : {DType::bf16, DType::f16}) {
    bool exact = true;
    for_each_layer(geometry, all, 0, tensors, [&](uint32_t, ByteSpan layer) {
      exact = exact && is_exactly(narrow, layer);
    });
    if (exact) {
      return narrow;
    }
  }
  return DType::f32;
}

// Sections were written with their rows one behind the other; a page has row after row.
void order_by_rows(const PageHeader& header, MutByteSpan sections, Workspace& workspace) {
  const size_t row_sections = header.sections.size() / header.rows.size();
  workspace.more_bytes.assign(sections.begin(), sections.end());
  std::vector<size_t> to(header.rows.size());  // offset of the row's next section
  for (size_t row = 0; row < to.size(); ++row) {
    to[row] = header.section_offset(row * row_sections) - header.header_bytes();
  }
  const uint8_t* from = workspace.more_bytes.data();
  for (size_t i = 0; i < row_sections; ++i) {
    for (size_t row = 0; row < to.size(); ++row) {
      const size_t bytes = header.sections[row * row_sections + i].bytes;
      std::copy_n(from, bytes, sections.begin() + static_cast<ptrdiff_t>(to[row]));
      from += bytes;
      to[row] += bytes;
    }
  }
}

std::vector<Row> rows_of(const PageSpec& spec) {
  if (spec.encoding != Encoding::progressive) {
    return {Row{}};
  }
  std::vector<Row> rows = spec.profile->rows;
  if (spec.lossy_rows != 0) {
    rows.resize(spec.lossy_rows);
  }
  if (spec.exact_row) {
    rows.push_back(Row{});
  }
  return rows;
}

bool is_written(Encoding encoding) {
  return encoding == Encoding::raw || encoding == Encoding::direct ||
         encoding == Encoding::progressive;
}

Status check_encode_arguments(const PageSpec& spec, ByteSpan tensors, MutByteSpan out) {
  if (!is_written(spec.encoding)) {
    return SLUICE_ERR(Errc::unsupported,
                      "encode_page: encoding {} ({}), this version writes raw, direct and "
                      "progressive",
                      encoding_name(spec.encoding),
                      int(spec.encoding));
  }
  if (spec.encoding == Encoding::progressive) {
    if (spec.profile == nullptr) {
      return SLUICE_ERR(Errc::invalid_argument,
                        "encode_page: progressive without a profile: nothing says how far from "
                        "exact the page would be; give one, or encode direct");
    }
    SLUICE_CHECK(check_profile_geometry(*spec.profile, spec.geometry));
    if (spec.lossy_rows > spec.profile->rows.size()) {
      return SLUICE_ERR(Errc::invalid_argument,
                        "encode_page: {} lossy rows, the profile has {}",
                        spec.lossy_rows,
                        spec.profile->rows.size());
    }
  }
  SLUICE_TRY(uint64_t bound, encode_bound(spec.geometry, rows_of(spec).size()));
  if (tensors.size() != spec.geometry.bytes()) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "encode_page: {} bytes of tensors, the geometry has {}",
                      tensors.size(),
                      spec.geometry.bytes());
  }
  if (out.size() < bound) {
    return SLUICE_ERR(Errc::output_too_small,
                      "encode_page: output of {} bytes, encode_bound says {}",
                      out.size(),
                      bound);
  }
  return {};
}

PageHeader header_of(const PageSpec& spec, ByteSpan tensors) {
  PageHeader header;
  header.page_key = spec.page_key;
  header.encoding = spec.encoding;
  header.provenance_kl = spec.provenance_kl;
  header.first_position = spec.first_position;
  header.geometry = spec.geometry;
  header.layers_per_section = layers_per_section(spec.geometry);
  header.rows = rows_of(spec);
  if (spec.encoding == Encoding::progressive) {
    header.profile_digest = spec.profile->digest;
  }
  const bool is_exact = header.rows.back().level == Level::exact && spec.encoding != Encoding::raw;
  for (size_t plane = 0; plane < spec.geometry.planes.size(); ++plane) {
    header.stored.push_back(is_exact ? stored_dtype(spec.geometry, plane, tensors)
                                     : spec.geometry.planes[plane].dtype);
  }
  header.sections.resize(header.rows.size() * header.layer_groups() * spec.geometry.planes.size());
  return header;
}

// An exact row codes 16 bits.
Status check_exact_row(const PageHeader& header) {
  for (size_t plane = 0; plane < header.stored.size(); ++plane) {
    if (header.rows.size() > 1 && header.rows.back().level == Level::exact &&
        is_codable(header, plane) && header.stored[plane] == DType::f32) {
      return SLUICE_ERR(Errc::unsupported,
                        "encode_page: an exact row of plane {}: its f32 elements are neither all "
                        "bf16 nor all f16; leave the row out, or encode direct",
                        role_name(header.geometry.planes[plane].role));
    }
  }
  return {};
}

// What a reader asked for of each row, whole and with the right checksums; the sections of one
// slice after the other.
class SelectedRows {
 public:
  // `bytes`: the rows, one behind the other. Errors: as decode_layers.
  Status open(const PageHeader& header,
              size_t rows,
              uint32_t first_layer,
              uint32_t layers,
              ByteSpan bytes) {
    if (rows == 0 || rows > header.rows.size()) {
      return SLUICE_ERR(Errc::invalid_argument,
                        "decode: {} rows of a page that has {}",
                        rows,
                        header.rows.size());
    }
    rows_ = rows;
    for (size_t row = 0; row < rows; ++row) {
      SLUICE_TRY(ranges_[row], select_sections(header, row, first_layer, layers));
      SLUICE_CHECK(verify_sections(header, ranges_[row], bytes));
      bytes_[row] = bytes.first(ranges_[row].bytes);
      bytes = bytes.subspan(ranges_[row].bytes);
    }
    return {};
  }

  // Of the first row; its offset moves with next().
  const SectionRange& range() const { return ranges_[0]; }

  // The rows of the section that is `i` behind the first.
  std::span<const RowSection> next(const PageHeader& header, size_t i) {
    for (size_t row = 0; row < rows_; ++row) {
      const size_t index = ranges_[row].first + i;
      const uint32_t section_bytes = header.sections[index].bytes;
      sections_[row] = {.bytes = bytes_[row].first(section_bytes),
                        .place = {.index = index, .offset = ranges_[row].offset}};
      bytes_[row] = bytes_[row].subspan(section_bytes);
      ranges_[row].offset += section_bytes;
    }
    return std::span(sections_).first(rows_);
  }

 private:
  size_t rows_ = 0;
  std::array<SectionRange, kRowsMax> ranges_;
  std::array<ByteSpan, kRowsMax> bytes_;
  std::array<RowSection, kRowsMax> sections_;
};

}  // namespace

Result<uint64_t> encode_bound(const PageGeometry& geometry, size_t rows) {
  SLUICE_CHECK(check_page_geometry(geometry));
  PageHeader header;
  header.geometry = geometry;
  header.layers_per_section = layers_per_section(geometry);
  header.rows.resize(rows);
  header.sections.resize(rows * header.layer_groups() * geometry.planes.size());
  uint64_t bound = header.header_bytes() + geometry.bytes();
  if (header.header_bytes() > kPageHeaderBytesMax || bound > kPageBytesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "page of up to {} bytes with a header of {}, at most {} and {}",
                      bound,
                      header.header_bytes(),
                      kPageBytesMax,
                      kPageHeaderBytesMax);
  }
  return bound;
}

Result<size_t> encode_page(const PageSpec& spec,
                           ByteSpan tensors,
                           MutByteSpan out,
                           Workspace& workspace) {
  SLUICE_CHECK(check_encode_arguments(spec, tensors, out));
  PageHeader header = header_of(spec, tensors);
  SLUICE_CHECK(check_exact_row(header));
  MaybeProgressive progressive;
  SLUICE_CHECK(match_profile(header, spec.profile, workspace, progressive));
  size_t at = header.header_bytes();
  for (uint32_t group = 0; group < header.layer_groups(); ++group) {
    for (size_t plane = 0; plane < spec.geometry.planes.size(); ++plane) {
      SectionSlice slice = slice_of(header, group, plane);
      at += encode_section(header, progressive, slice, tensors, out.subspan(at), workspace);
    }
  }
  if (header.rows.size() > 1) {
    order_by_rows(header, out.first(at).subspan(header.header_bytes()), workspace);
  }
  SLUICE_TRY(Bytes header_bytes, serialise_page_header(header));
  std::copy(header_bytes.begin(), header_bytes.end(), out.begin());
  return at;
}

Status decode_layers(const PageHeader& header,
                     size_t rows,
                     uint32_t first_layer,
                     uint32_t layers,
                     ByteSpan bytes,
                     MutByteSpan out,
                     Workspace& workspace,
                     const Profile* profile) {
  SelectedRows selected;
  SLUICE_CHECK(selected.open(header, rows, first_layer, layers, bytes));
  MaybeProgressive progressive;
  SLUICE_CHECK(match_profile(header, profile, workspace, progressive));
  const SectionRange& range = selected.range();
  uint64_t needed = header.geometry.layer_bytes() * range.layers;
  if (out.size() < needed) {
    return SLUICE_ERR(Errc::output_too_small,
                      "decode: output of {} bytes for layers {}..+{}, expected {}",
                      out.size(),
                      range.first_layer,
                      range.layers,
                      needed);
  }
  const size_t planes = header.geometry.planes.size();
  for (size_t i = 0; i < range.count; ++i) {
    const auto group = static_cast<uint32_t>((range.first + i) / planes);
    SLUICE_CHECK(decode_section(header,
                                progressive,
                                slice_of(header, group, i % planes),
                                range.first_layer,
                                selected.next(header, i),
                                out,
                                workspace));
  }
  return {};
}

Status decode_page(const PageHeader& header,
                   ByteSpan page,
                   MutByteSpan out,
                   Workspace& workspace,
                   const Profile* profile) {
  const uint64_t header_bytes = header.header_bytes();
  if (page.size() < header_bytes) {
    return SLUICE_ERR(
        Errc::truncated, "page: header of {} bytes, ends after {}", header_bytes, page.size());
  }
  const size_t rows = std::max<size_t>(rows_within(header, page.size()), 1);
  return decode_layers(
      header, rows, 0, header.geometry.layers, page.subspan(header_bytes), out, workspace, profile);
}

}  // namespace sluice::codec
