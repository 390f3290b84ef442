// KV tensors to page bytes and back, encodings `raw`, `direct` and `progressive` (FORMAT.md,
// "Sections").
//
// Not the container (page.h), not engine layouts (src/model), no I/O, no threads. Every function is
// pure over its spans; two threads need two Workspaces. Tensors are in canonical order
// [layer][plane][token][head][dim], little-endian, without padding.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/page.h"
#include "codec/profile.h"
#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/model/geometry.h"

namespace sluice::codec {

// Scratch of one thread, reused from call to call: it grows to the largest section seen, and from
// then on nothing allocates but page headers. What stands in it between calls means nothing.
struct Workspace {
  std::vector<uint16_t> values;   // a section's elements, [layer][channel][token]
  std::vector<uint16_t> words;    // an encoder's words, before their place is known
  std::vector<uint16_t> centres;  // an encoder's measurements of a layer's channels
  Bytes bytes;                    // an encoder's raw bits; the section that is being decoded
  // Of `progressive` pages only.
  std::vector<int16_t> coefficients;  // a section's, [layer][channel][token]
  std::vector<uint64_t> energies;     // an encoder's, of a layer's tokens
  std::vector<uint32_t> wide;         // a layer's values in 32 bits, [channel][token]
  std::vector<int32_t> turns;         // cos and sin of the page's positions
};

// What a caller says of a page that it wants encoded.
struct PageSpec {
  Hash32 page_key{};
  Encoding encoding = Encoding::direct;
  uint32_t provenance_kl = 0;        // micro-nats; 0 for KV computed on exact KV
  uint64_t first_position = 0;       // position of token 0
  PageGeometry geometry;             // n_tokens a multiple of 32
  const Profile* profile = nullptr;  // of `progressive` pages; lives until encode_page returns
};

// Bytes that encode_page can need for this geometry: the header and the source bytes.
// Errors: bad_value, too_large (see PageGeometry::validate; also tokens that are no multiple of
// 32).
Result<uint64_t> encode_bound(const PageGeometry& geometry);

// Encodes a whole page into `out`; returns its bytes.
// `direct` stores f32 planes as f16 or bf16 where every value is exactly that, and any section that
// does not shrink as it is; so it takes every dtype and role and never needs more than
// encode_bound. `progressive` stores what the profile's steps leave of f32, f16 and bf16 planes of
// roles k, v and latent, and everything else as it is.
// Shape: `tensors` is geometry.bytes() long. The same input gives the same bytes on every machine.
// Errors: bad_value, too_large (geometry), invalid_argument (length of tensors; progressive without
// a profile), layout_mismatch (profile of another shape), unsupported (encoding), output_too_small
// (out shorter than encode_bound).
Result<size_t> encode_page(const PageSpec& spec,
                           ByteSpan tensors,
                           MutByteSpan out,
                           Workspace& workspace);

// Decodes a whole page, checking each section's checksum first; `page` begins with the header that
// `header` was parsed from. Shape: `out` is header.geometry.bytes() long or longer.
// Errors: as decode_sections.
Status decode_page(const PageHeader& header,
                   ByteSpan page,
                   MutByteSpan out,
                   Workspace& workspace,
                   const Profile* profile = nullptr);

// Decodes the layers of `range`, checking each section's checksum first. `profile` is for
// `progressive` pages: the one that the header names, parsed for the pairing of the page's space.
// Shape: `bytes` begins at range.offset of the page; `out` takes range.layers x layer_bytes().
// On an error `out` holds nothing to use. The text names section and offset.
// Errors: invalid_argument (a range that select_sections did not make), truncated, bad_checksum,
// damaged (checksum right, content impossible), output_too_small, identity_mismatch (another
// profile than the page's, or none), layout_mismatch (the page's own profile, another shape),
// bad_value (another KL than its profile's).
Status decode_sections(const PageHeader& header,
                       const SectionRange& range,
                       ByteSpan bytes,
                       MutByteSpan out,
                       Workspace& workspace,
                       const Profile* profile = nullptr);

}  // namespace sluice::codec
