#include "codec/section_coding.h"

#include <algorithm>
#include <cstring>

#include "codec/direct.h"
#include "codec/elements.h"

namespace sluice::codec {
namespace {

DirectShape direct_shape(const PageHeader& header, const SectionSlice& slice) {
  return {.layers = slice.layers,
          .channels = static_cast<uint32_t>(header.geometry.planes[slice.plane].width()),
          .n_tokens = header.geometry.n_tokens,
          .mantissa_bits = header.stored[slice.plane] == DType::f16 ? 10u : 7u};
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
  std::span<uint16_t> values = grown(workspace.values, shape.values());
  for_each_layer(header.geometry, slice, 0, tensors, [&](uint32_t layer, ByteSpan elements) {
    gather_layer(layer_form,
                 *workspace.kernels,
                 elements,
                 bytes_of(values.subspan(layer * layer_values, layer_values)));
  });
  return encode_direct(shape, values, out, workspace);
}

// Codes one section, all its rows, into less than its source bytes; returns the bytes of each row,
// nothing if it does not get smaller.
std::optional<RowBytes> encode_coded(const PageHeader& header,
                                     const MaybeProgressive& progressive,
                                     const SectionSlice& slice,
                                     ByteSpan tensors,
                                     MutByteSpan out,
                                     Workspace& workspace) {
  if (!is_codable(header, slice.plane)) {
    return std::nullopt;
  }
  MutByteSpan room = out.first(header.geometry.plane_bytes(slice.plane) * slice.layers - 1);
  if (progressive.has_value()) {
    return encode_progressive_section(*progressive, slice, tensors, room, workspace);
  }
  size_t bytes = encode_direct_section(header, slice, tensors, room, workspace);
  return bytes == 0 ? std::nullopt : std::optional(RowBytes{bytes});
}

}  // namespace

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
  const auto lossy = std::find(header.rows.begin(), header.rows.end(), Row{});
  const auto count = static_cast<size_t>(lossy - header.rows.begin());
  if (count > profile->rows.size() ||
      !std::equal(header.rows.begin(), lossy, profile->rows.begin())) {
    return SLUICE_ERR(
        Errc::bad_value,
        "page {}: begins with level {} of KL {} micro-nats and has {} lossy rows; its "
        "profile has {}, the first is {} of KL {}; treat it as a miss",
        to_hex(header.page_key),
        level_name(header.rows[0].level),
        header.rows[0].kl,
        count,
        profile->rows.size(),
        level_name(profile->rows[0].level),
        profile->rows[0].kl);
  }
  progressive.emplace(header, *profile, workspace);
  return {};
}

size_t encode_section(PageHeader& header,
                      const MaybeProgressive& progressive,
                      const SectionSlice& slice,
                      ByteSpan tensors,
                      MutByteSpan out,
                      Workspace& workspace) {
  const size_t row_sections = header.sections.size() / header.rows.size();
  auto rows = encode_coded(header, progressive, slice, tensors, out, workspace);
  if (!rows.has_value()) {
    header.sections[slice.index].flags = kSectionStoredRaw;
    rows = RowBytes{};
    for_each_layer(header.geometry, slice, 0, tensors, [&](uint32_t, ByteSpan elements) {
      std::memcpy(out.data() + rows->front(), elements.data(), elements.size());
      rows->front() += elements.size();
    });
  }
  size_t at = 0;
  for (size_t row = 0; row < header.rows.size(); ++row) {
    Section& section = header.sections[row * row_sections + slice.index];
    section.bytes = static_cast<uint32_t>((*rows)[row]);
    section.xxh3 = xxh3_64(out.subspan(at, section.bytes));
    at += section.bytes;
  }
  return at;
}

Status decode_section(const PageHeader& header,
                      const MaybeProgressive& progressive,
                      const SectionSlice& slice,
                      uint32_t first_layer,
                      std::span<const RowSection> rows,
                      MutByteSpan out,
                      Workspace& workspace) {
  if ((header.sections[slice.index].flags & kSectionStoredRaw) != 0) {
    const uint8_t* from = rows[0].bytes.data();
    for_each_layer(header.geometry, slice, first_layer, out, [&](uint32_t, MutByteSpan elements) {
      std::memcpy(elements.data(), from, elements.size());
      from += elements.size();
    });
    return {};
  }
  if (progressive.has_value()) {
    return decode_progressive_section(*progressive, slice, first_layer, rows, out, workspace);
  }
  DirectShape shape = direct_shape(header, slice);
  LayerShape layer_form = layer_shape(header, slice.plane);
  size_t layer_values = shape.values() / shape.layers;
  std::span<uint16_t> values = grown(workspace.values, shape.values());
  SLUICE_CHECK(decode_direct(shape, rows[0].bytes, rows[0].place, values, workspace));
  for_each_layer(
      header.geometry, slice, first_layer, out, [&](uint32_t layer, MutByteSpan elements) {
        const MutByteSpan part = bytes_of(values.subspan(layer * layer_values, layer_values));
        scatter_layer(layer_form, *workspace.kernels, part, elements);
      });
  return {};
}

}  // namespace sluice::codec
