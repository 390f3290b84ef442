// A section of a `progressive` page between tensors and bytes: values, rotation and entropy coding
// put together. Private to codec/. No allocation beyond a growing Workspace.
#pragma once

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

// Encodes a section of a codable plane; returns its bytes, 0 if it does not fit `out`.
size_t encode_progressive_section(const ProgressivePage& page,
                                  const SectionSlice& slice,
                                  ByteSpan tensors,
                                  MutByteSpan out,
                                  Workspace& workspace);

// Decodes a section into tensors that begin at `first_layer`; any bytes are allowed in.
// Errors: damaged.
Status decode_progressive_section(const ProgressivePage& page,
                                  const SectionSlice& slice,
                                  uint32_t first_layer,
                                  ByteSpan section,
                                  const SectionPlace& place,
                                  MutByteSpan out,
                                  Workspace& workspace);

}  // namespace sluice::codec
