// One section of a page in whichever encoding: stored raw, `direct`, or the rows of `progressive`.
// Private to codec/. No allocation beyond a growing Workspace.
#pragma once

#include <optional>
#include <span>

#include "codec/codec.h"
#include "codec/progressive_section.h"
#include "codec/section_slice.h"

namespace sluice::codec {

// A page's sections differ by whether it has a profile.
using MaybeProgressive = std::optional<ProgressivePage>;

// Sets `progressive` for a page that needs a profile, and has the right one. Errors: as
// decode_layers.
Status match_profile(const PageHeader& header,
                     const Profile* profile,
                     Workspace& workspace,
                     MaybeProgressive& progressive);

// Writes one section, its rows one behind the other, to the front of `out`, which holds its source
// bytes at least; fills in their entries of the header. Returns the bytes written.
size_t encode_section(PageHeader& header,
                      const MaybeProgressive& progressive,
                      const SectionSlice& slice,
                      ByteSpan tensors,
                      MutByteSpan out,
                      Workspace& workspace);

// Decodes one section, whose lengths and checksums are right, into tensors that begin at
// `first_layer`. Errors: damaged.
Status decode_section(const PageHeader& header,
                      const MaybeProgressive& progressive,
                      const SectionSlice& slice,
                      uint32_t first_layer,
                      std::span<const RowSection> rows,
                      MutByteSpan out,
                      Workspace& workspace);

}  // namespace sluice::codec
