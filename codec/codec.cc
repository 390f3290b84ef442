#include "codec/codec.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "codec/direct.h"
#include "codec/elements.h"
#include "codec/page_check.h"
#include "codec/progressive_section.h"
#include "codec/section_slice.h"
#include "src/base/limits.h"

namespace sluice::codec {
namespace {

DirectShape direct_shape(const PageHeader& header, const SectionSlice& slice) {
  return {.layers = slice.layers,
          .channels = static_cast<uint32_t>(header.geometry.planes[slice.plane].width()),
          .n_tokens = header.geometry.n_tokens,
          .mantissa_bits = header.stored[slice.plane] == DType::f16 ? 10u : 7u};
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

// Codes one section with `direct`; 0 if it does not fit `out`.
size_t encode_direct_section(const PageHeader& header,
                             const SectionSlice& slice,
                             ByteSpan tensors,
                             MutByteSpan out,
                             Workspace& workspace) {
  DirectShape shape = direct_shape(header, slice);
  LayerShape layer_form = layer_shape(header, slice.plane);
  size_t layer_values = shape.values() / shape.layers;
  workspace.values.resize(std::max(workspace.values.size(), shape.values()));
  std::span<uint16_t> values(workspace.values.data(), shape.values());
  for_each_layer(header.geometry, slice, 0, tensors, [&](uint32_t layer, ByteSpan elements) {
    gather_layer(layer_form, elements, values.subspan(layer * layer_values, layer_values));
  });
  return encode_direct(shape, values, out, workspace);
}

// A page's sections differ by whether it has a profile.
using MaybeProgressive = std::optional<ProgressivePage>;

// Codes one section into less than its source bytes; 0 if it does not get smaller.
size_t encode_coded(const PageHeader& header,
                    const MaybeProgressive& progressive,
                    const SectionSlice& slice,
                    ByteSpan tensors,
                    MutByteSpan out,
                    Workspace& workspace) {
  if (!is_codable(header, slice.plane)) {
    return 0;
  }
  MutByteSpan room = out.first(header.geometry.plane_bytes(slice.plane) * slice.layers - 1);
  return progressive.has_value()
             ? encode_progressive_section(*progressive, slice, tensors, room, workspace)
             : encode_direct_section(header, slice, tensors, room, workspace);
}

// Writes one section to the front of `out`, which holds its source bytes at least.
Section encode_section(const PageHeader& header,
                       const MaybeProgressive& progressive,
                       const SectionSlice& slice,
                       ByteSpan tensors,
                       MutByteSpan out,
                       Workspace& workspace) {
  Section section;
  size_t bytes = encode_coded(header, progressive, slice, tensors, out, workspace);
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
                      const MaybeProgressive& progressive,
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
  SectionPlace place{.index = slice.index, .offset = offset};
  if (progressive.has_value()) {
    return decode_progressive_section(
        *progressive, slice, first_layer, bytes, place, out, workspace);
  }
  DirectShape shape = direct_shape(header, slice);
  LayerShape layer_form = layer_shape(header, slice.plane);
  size_t layer_values = shape.values() / shape.layers;
  workspace.values.resize(std::max(workspace.values.size(), shape.values()));
  std::span<uint16_t> values(workspace.values.data(), shape.values());
  SLUICE_CHECK(decode_direct(shape, bytes, place, values, workspace));
  for_each_layer(
      header.geometry, slice, first_layer, out, [&](uint32_t layer, MutByteSpan elements) {
        scatter_layer(layer_form, values.subspan(layer * layer_values, layer_values), elements);
      });
  return {};
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
  if (spec.encoding == Encoding::progressive) {
    header.profile_digest = spec.profile->digest;
    header.rows = {spec.profile->row};
  }
  for (size_t plane = 0; plane < spec.geometry.planes.size(); ++plane) {
    header.stored.push_back(spec.encoding == Encoding::direct
                                ? stored_dtype(spec.geometry, plane, tensors)
                                : spec.geometry.planes[plane].dtype);
  }
  header.sections.resize(header.layer_groups() * spec.geometry.planes.size());
  return header;
}

// Sets `progressive` for a page that needs a profile, and has the right one.
Status match_profile(const PageHeader& header,
                     const Profile* profile,
                     Workspace& workspace,
                     MaybeProgressive& progressive) {
  if (header.encoding != Encoding::progressive) {
    return {};
  }
  if (profile == nullptr || profile->digest != header.profile_digest) {
    return SLUICE_ERR(Errc::identity_mismatch,
                      "page {}: coded with profile {}, given {}; give the profile that the page "
                      "names",
                      to_hex(header.page_key),
                      to_hex(header.profile_digest),
                      profile == nullptr ? "none" : to_hex(profile->digest));
  }
  SLUICE_CHECK(check_profile_geometry(*profile, header.geometry));
  if (header.rows[0] != profile->row) {
    return SLUICE_ERR(Errc::bad_value,
                      "page {}: says KL {} micro-nats, its profile measured {}; treat it as a miss",
                      to_hex(header.page_key),
                      header.rows[0].kl,
                      profile->row.kl);
  }
  progressive.emplace(header, *profile, workspace);
  return {};
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
  MaybeProgressive progressive;
  SLUICE_CHECK(match_profile(header, spec.profile, workspace, progressive));
  size_t at = header.header_bytes();
  for (uint32_t group = 0; group < header.layer_groups(); ++group) {
    for (size_t plane = 0; plane < spec.geometry.planes.size(); ++plane) {
      SectionSlice slice = slice_of(header, group, plane);
      Section& section = header.sections[slice.index];
      section = encode_section(header, progressive, slice, tensors, out.subspan(at), workspace);
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
                       const Profile* profile) {
  SLUICE_CHECK(verify_sections(header, range, bytes));
  MaybeProgressive progressive;
  SLUICE_CHECK(match_profile(header, profile, workspace, progressive));
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
                                  progressive,
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
