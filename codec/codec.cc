#include "codec/codec.h"

#include <algorithm>
#include <cstring>

#include "codec/direct.h"
#include "codec/elements.h"
#include "codec/page_check.h"
#include "src/base/limits.h"

namespace sluice::codec {
namespace {

// One section of a page: some layers of one plane, and where they stand in the tensors.
struct SectionSlice {
  size_t index = 0;
  size_t plane = 0;
  uint32_t first_layer = 0;
  uint32_t layers = 0;
};

SectionSlice slice_of(const PageHeader& header, uint32_t group, size_t plane) {
  return {.index = header.section_index(0, group, plane),
          .plane = plane,
          .first_layer = group * header.layers_per_section,
          .layers = layers_in_group(header, group)};
}

LayerShape layer_shape(const PageHeader& header, size_t plane) {
  return {.channels = static_cast<uint32_t>(header.geometry.planes[plane].width()),
          .n_tokens = header.geometry.n_tokens,
          .dtype = header.geometry.planes[plane].dtype,
          .stored = header.stored[plane]};
}

DirectShape direct_shape(const PageHeader& header, const SectionSlice& slice) {
  return {.layers = slice.layers,
          .channels = static_cast<uint32_t>(header.geometry.planes[slice.plane].width()),
          .n_tokens = header.geometry.n_tokens,
          .mantissa_bits = header.stored[slice.plane] == DType::f16 ? 10u : 7u};
}

// Calls visit(layer in the section, its bytes in `tensors`, whose first layer is `first_layer`).
template <class Span, class Visit>
void for_each_layer(const PageGeometry& geometry,
                    const SectionSlice& slice,
                    uint32_t first_layer,
                    Span tensors,
                    Visit visit) {
  for (uint32_t layer = 0; layer < slice.layers; ++layer) {
    uint64_t offset = geometry.offset_bytes(slice.first_layer + layer - first_layer, slice.plane);
    visit(layer, tensors.subspan(offset, geometry.plane_bytes(slice.plane)));
  }
}

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

// Codes one section with `direct` into less than its source bytes; 0 if it does not get smaller.
size_t encode_coded(const PageHeader& header,
                    const SectionSlice& slice,
                    ByteSpan tensors,
                    MutByteSpan out,
                    Workspace& workspace) {
  if (!is_codable(header, slice.plane)) {
    return 0;
  }
  DirectShape shape = direct_shape(header, slice);
  LayerShape layer_form = layer_shape(header, slice.plane);
  size_t layer_values = shape.values() / shape.layers;
  workspace.values.resize(std::max(workspace.values.size(), shape.values()));
  std::span<uint16_t> values(workspace.values.data(), shape.values());
  for_each_layer(header.geometry, slice, 0, tensors, [&](uint32_t layer, ByteSpan elements) {
    gather_layer(layer_form, elements, values.subspan(layer * layer_values, layer_values));
  });
  size_t source_bytes = header.geometry.plane_bytes(slice.plane) * slice.layers;
  return encode_direct(shape, values, out.first(source_bytes - 1), workspace);
}

// Writes one section to the front of `out`, which holds its source bytes at least.
Section encode_section(const PageHeader& header,
                       const SectionSlice& slice,
                       ByteSpan tensors,
                       MutByteSpan out,
                       Workspace& workspace) {
  Section section;
  size_t bytes = encode_coded(header, slice, tensors, out, workspace);
  if (bytes == 0) {
    section.flags = kSectionStoredRaw;
    for_each_layer(header.geometry, slice, 0, tensors, [&](uint32_t, ByteSpan elements) {
      std::memcpy(out.data() + bytes, elements.data(), elements.size());
      bytes += elements.size();
    });
  }
  section.bytes = static_cast<uint32_t>(bytes);
  section.xxh3 = xxh3_64(out.first(bytes));
  return section;
}

// Decodes one section whose length and checksum are right into tensors that begin at `first_layer`.
Status decode_section(const PageHeader& header,
                      const SectionSlice& slice,
                      uint32_t first_layer,
                      ByteSpan bytes,
                      uint64_t offset,
                      MutByteSpan out,
                      Workspace& workspace) {
  if ((header.sections[slice.index].flags & kSectionStoredRaw) != 0) {
    const uint8_t* from = bytes.data();
    for_each_layer(header.geometry, slice, first_layer, out, [&](uint32_t, MutByteSpan elements) {
      std::memcpy(elements.data(), from, elements.size());
      from += elements.size();
    });
    return {};
  }
  DirectShape shape = direct_shape(header, slice);
  LayerShape layer_form = layer_shape(header, slice.plane);
  size_t layer_values = shape.values() / shape.layers;
  workspace.values.resize(std::max(workspace.values.size(), shape.values()));
  std::span<uint16_t> values(workspace.values.data(), shape.values());
  SectionPlace place{.index = slice.index, .offset = offset};
  SLUICE_CHECK(decode_direct(shape, bytes, place, values, workspace));
  for_each_layer(
      header.geometry, slice, first_layer, out, [&](uint32_t layer, MutByteSpan elements) {
        scatter_layer(layer_form, values.subspan(layer * layer_values, layer_values), elements);
      });
  return {};
}

Status check_encode_arguments(const PageSpec& spec, ByteSpan tensors, MutByteSpan out) {
  if (spec.encoding != Encoding::raw && spec.encoding != Encoding::direct) {
    return SLUICE_ERR(Errc::unsupported,
                      "encode_page: encoding {} ({}), this version writes raw and direct",
                      encoding_name(spec.encoding),
                      int(spec.encoding));
  }
  SLUICE_TRY(uint64_t bound, encode_bound(spec.geometry));
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
  header.rows = {Row{}};
  for (size_t plane = 0; plane < spec.geometry.planes.size(); ++plane) {
    header.stored.push_back(spec.encoding == Encoding::direct
                                ? stored_dtype(spec.geometry, plane, tensors)
                                : spec.geometry.planes[plane].dtype);
  }
  header.sections.resize(header.layer_groups() * spec.geometry.planes.size());
  return header;
}

}  // namespace

Result<uint64_t> encode_bound(const PageGeometry& geometry) {
  SLUICE_CHECK(check_page_geometry(geometry));
  PageHeader header;
  header.geometry = geometry;
  header.layers_per_section = layers_per_section(geometry);
  header.rows = {Row{}};
  header.sections.resize(header.layer_groups() * geometry.planes.size());
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
  size_t at = header.header_bytes();
  for (uint32_t group = 0; group < header.layer_groups(); ++group) {
    for (size_t plane = 0; plane < spec.geometry.planes.size(); ++plane) {
      SectionSlice slice = slice_of(header, group, plane);
      Section& section = header.sections[slice.index];
      section = encode_section(header, slice, tensors, out.subspan(at), workspace);
      at += section.bytes;
    }
  }
  SLUICE_TRY(Bytes header_bytes, serialise_page_header(header));
  std::copy(header_bytes.begin(), header_bytes.end(), out.begin());
  return at;
}

Status decode_sections(const PageHeader& header,
                       const SectionRange& range,
                       ByteSpan bytes,
                       MutByteSpan out,
                       Workspace& workspace,
                       const Profile*) {
  SLUICE_CHECK(verify_sections(header, range, bytes));
  uint64_t needed = header.geometry.layer_bytes() * range.layers;
  if (out.size() < needed) {
    return SLUICE_ERR(Errc::output_too_small,
                      "decode: output of {} bytes for layers {}..+{}, expected {}",
                      out.size(),
                      range.first_layer,
                      range.layers,
                      needed);
  }
  uint64_t at = 0;
  uint32_t group = range.first_layer / header.layers_per_section;
  uint32_t end_layer = range.first_layer + range.layers;
  for (; group * header.layers_per_section < end_layer; ++group) {
    for (size_t plane = 0; plane < header.geometry.planes.size(); ++plane) {
      SectionSlice slice = slice_of(header, group, plane);
      uint32_t section_bytes = header.sections[slice.index].bytes;
      SLUICE_CHECK(decode_section(header,
                                  slice,
                                  range.first_layer,
                                  bytes.subspan(at, section_bytes),
                                  range.offset + at,
                                  out,
                                  workspace));
      at += section_bytes;
    }
  }
  return {};
}

Status decode_page(const PageHeader& header,
                   ByteSpan page,
                   MutByteSpan out,
                   Workspace& workspace,
                   const Profile* profile) {
  SLUICE_TRY(SectionRange all, select_sections(header, 0, 0, header.geometry.layers));
  if (page.size() < all.offset) {
    return SLUICE_ERR(
        Errc::truncated, "page: header of {} bytes, ends after {}", all.offset, page.size());
  }
  return decode_sections(header, all, page.subspan(all.offset), out, workspace, profile);
}

}  // namespace sluice::codec
