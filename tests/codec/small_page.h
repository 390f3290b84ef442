// Pages of each coded encoding that are small enough to break at every byte.
#pragma once

#include "codec/codec.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {

// 2 layers a section at 32 tokens.
struct SmallDirectPage {
  PageGeometry geometry = kv_geometry(DType::bf16, 2, 32, 1, 12);
  Bytes tensors = sample_tensors(geometry, Sample::gaussian, 3);
  Bytes page = encoded({.geometry = geometry}, tensors);
  size_t header_bytes = parse_page_header(page).value().header_bytes();

  const Profile* its_profile() const { return nullptr; }
};

// The tokens at positions 2 and 3 are exact.
struct SmallProgressivePage {
  PageGeometry geometry = kv_geometry(DType::bf16, 2, 32, 1, 16);
  Profile profile = parsed(sample_profile(geometry, RopePairing::neox, 7), RopePairing::neox);
  Bytes tensors = tensors_of(profile, geometry, 2, 3);
  Bytes page = encoded({.encoding = Encoding::progressive,
                        .first_position = 2,
                        .geometry = geometry,
                        .profile = &profile},
                       tensors);
  size_t header_bytes = parse_page_header(page).value().header_bytes();

  const Profile* its_profile() const { return &profile; }
};

// Rows q3, q2, q1 and exact over a Givens basis; the token at position 3 is exact.
struct SmallRowsPage {
  PageGeometry geometry = kv_geometry(DType::bf16, 2, 32, 1, 24);
  Profile profile = its_rows(geometry);
  Bytes tensors = tensors_of(profile, geometry, 3, 3);
  Bytes page = encoded({.encoding = Encoding::progressive,
                        .first_position = 3,
                        .geometry = geometry,
                        .profile = &profile,
                        .exact_row = true},
                       tensors);
  size_t header_bytes = parse_page_header(page).value().header_bytes();

  const Profile* its_profile() const { return &profile; }

  static Profile its_rows(const PageGeometry& geometry) {
    Profile made = sample_profile(geometry, RopePairing::neox, 7);
    add_basis(made, profile_layout::kGivens, 5);
    return parsed(made, RopePairing::neox);
  }
};

// Parses and decodes a page as a client does that has this profile.
inline Status decode(ByteSpan page, const Profile* profile) {
  SLUICE_TRY(PageHeader header, parse_page_header(page));
  Bytes out(header.geometry.bytes());
  Workspace workspace;
  return decode_page(header, page, out, workspace, profile);
}

inline Errc decode_error(ByteSpan page, const Profile* profile) {
  Status status = decode(page, profile);
  return status.has_error() ? status.error().code : Errc::ok;
}

}  // namespace sluice::codec
