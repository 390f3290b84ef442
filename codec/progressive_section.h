// A section of a `progressive` page, all its rows, between tensors and bytes: values, rotation and
// entropy coding put together. Private to codec/. No allocation beyond a growing Workspace.
#pragma once

#include <array>
#include <span>

#include "codec/codec.h"
#include "codec/lanes.h"
#include "codec/progressive_values.h"
#include "codec/section_slice.h"

namespace sluice::codec {

// What the sections of one page have in common. `header` and `profile` fit and outlive it.
struct ProgressivePage {
  ProgressivePage(const PageHeader& its_header, const Profile& its_profile, Workspace& workspace)
      : header(its_header),
        profile(its_profile),
        turns(profile, header.first_position, header.geometry.n_tokens, workspace.turns) {}

  const PageHeader& header;
  const Profile& profile;
  PageTurns turns;
};

using RowBytes = std::array<size_t, kRowsMax>;

// What a reader has of a section: one row's.
struct RowSection {
  ByteSpan bytes;
  SectionPlace place;
};

// Encodes all rows of the section of a codable plane, one behind the other; returns the bytes of
// each, nothing where they do not fit `out`.
std::optional<RowBytes> encode_progressive_section(const ProgressivePage& page,
                                                   const SectionSlice& slice,
                                                   ByteSpan tensors,
                                                   MutByteSpan out,
                                                   Workspace& workspace);

// Decodes the first rows of a section into tensors that begin at `first_layer`; any bytes are
// allowed in. Errors: damaged.
Status decode_progressive_section(const ProgressivePage& page,
                                  const SectionSlice& slice,
                                  uint32_t first_layer,
                                  std::span<const RowSection> rows,
                                  MutByteSpan out,
                                  Workspace& workspace);

}  // namespace sluice::codec
