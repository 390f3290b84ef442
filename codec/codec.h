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

struct Kernels;
const Kernels& best_kernels();  // what the machine's CPU has

// Of one layer of a `progressive` page, [channel][token].
struct LayerScratch {
  std::vector<uint16_t> elements;     // an encoder's; two of them for an f32
  std::vector<int16_t> coefficients;  // of them, whole
  std::vector<int16_t> group;         // and those that one matrix takes
};

// Scratch of one thread, reused from call to call: it grows to the largest section seen, and from
// then on no section allocates. What stands in it between calls means nothing.
struct Workspace {
  const Kernels* kernels = &best_kernels();  // all give the same bytes
  std::vector<uint16_t> values;              // a section's elements, [layer][channel][token]
  std::vector<uint16_t> words;               // an encoder's words, before their place is known
  std::vector<uint16_t> centres;             // an encoder's measurements of a layer's channels
  Bytes bytes;  // an encoder's raw bits; the section that is being decoded
  // Of `progressive` pages only.
  std::vector<int16_t> quantised;      // a section's components, [layer][component][token]
  std::vector<uint16_t> source;        // an encoder's elements beside `values`, the same shape
  std::vector<int16_t> values_of_row;  // an encoder's, the same at a row's level
  std::vector<uint32_t> energies;      // an encoder's, of a layer's tokens
  std::vector<int32_t> turns;          // cos and sin of the page's positions
  std::vector<uint8_t> scales;         // of a layer's components
  LayerScratch layer;
  Bytes more_bytes;  // a section beside the one in `bytes`; an encoder's whole page
};

// What a caller says of a page that it wants encoded.
struct PageSpec {
  Hash32 page_key{};
  Encoding encoding = Encoding::direct;
  uint32_t provenance_kl = 0;   // micro-nats; 0 for KV computed on exact KV
  uint64_t first_position = 0;  // position of token 0
  PageGeometry geometry;        // n_tokens a multiple of 32
  // Of `progressive` pages; lives until encode_page returns.
  const Profile* profile = nullptr;
  // Rows of a `progressive` page: the first so many of the profile's (0: all), then `exact` if
  // asked for.
  uint32_t lossy_rows = 0;
  bool exact_row = false;
};

// Bytes that encode_page can need for this geometry and so many rows, at most kRowsMax: the header
// and the source bytes. Errors: bad_value, too_large (see PageGeometry::validate; also tokens that
// are no multiple of 32).
Result<uint64_t> encode_bound(const PageGeometry& geometry, size_t rows = 1);

// Encodes a whole page into `out`; returns its bytes.
// `direct` stores f32 planes as f16 or bf16 where every value is exactly that, and any section that
// does not shrink as it is; so it takes every dtype and role and never needs more than
// encode_bound. `progressive` stores what the profile's steps leave of f32, f16 and bf16 planes of
// roles k, v and latent, and everything else as it is; with an exact row, what gives the source
// back bit for bit.
// Shape: `tensors` is geometry.bytes() long. The same input gives the same bytes on every machine.
// Errors: bad_value, too_large (geometry), invalid_argument (length of tensors; progressive without
// a profile, or more rows than it has), layout_mismatch (profile of another shape), unsupported
// (encoding; an exact row of f32 that is not exactly f16 or bf16), output_too_small (out shorter
// than encode_bound).
Result<size_t> encode_page(const PageSpec& spec,
                           ByteSpan tensors,
                           MutByteSpan out,
                           Workspace& workspace);

// Decodes the rows that are whole in `page`, checking each section's checksum first; `page` begins
// with the header that `header` was parsed from, and may end after any row. Shape: `out` is
// header.geometry.bytes() long or longer. Errors: as decode_layers; truncated (not even the first
// row).
Status decode_page(const PageHeader& header,
                   ByteSpan page,
                   MutByteSpan out,
                   Workspace& workspace,
                   const Profile* profile = nullptr);

// Decodes some layers from their sections of the first `rows` rows, checking each section's
// checksum first. The more rows, the better; from all of them decode_page gives the same.
// `profile` is for `progressive` pages: the one that the header names, parsed for the pairing of
// the page's space.
// Shape: `bytes` are the ranges that select_sections gives for these layers of each row, one behind
// the other; `out` takes the layers of these ranges, which are rounded out to whole sections.
// On an error `out` holds nothing to use. The text names section and offset.
// Errors: invalid_argument (rows or layers out of range), truncated, bad_checksum, damaged
// (checksum right, content impossible), output_too_small, identity_mismatch (another profile than
// the page's, or none), layout_mismatch (the page's own profile, another shape), bad_value (other
// levels or KL than its profile's).
Status decode_layers(const PageHeader& header,
                     size_t rows,
                     uint32_t first_layer,
                     uint32_t layers,
                     ByteSpan bytes,
                     MutByteSpan out,
                     Workspace& workspace,
                     const Profile* profile = nullptr);

}  // namespace sluice::codec
