// Made-up profiles and KV that suits them, for the codec's tests; and the writer of profile files.
#pragma once

#include <cstdint>

#include "codec/codec.h"
#include "codec/profile.h"
#include "codec/profile_layout.h"
#include "src/base/bytes.h"
#include "src/base/prng.h"
#include "src/model/geometry.h"
#include "tests/codec/restamp.h"

namespace sluice::codec {

// The file of a profile, in its own pairing; its digest is not looked at.
Bytes profile_file(const Profile& profile);

// A profile of these planes and layers, by seed: channels from dead to very wide, means of either
// sign, RoPE of base 10000 at every layer but the last of three or more.
Profile sample_profile(const PageGeometry& geometry, RopePairing pairing, uint64_t seed);

// Gives a block a basis, its matrices of so many channels.
void add_basis(PlaneModel& model,
               profile_layout::BasisKind kind,
               size_t matrix_channels,
               Prng& prng);

// Gives every block a basis, and the profile rows q3, q2 and q1.
void add_basis(Profile& profile, profile_layout::BasisKind kind, uint64_t seed);

// The same as a reader has it. Requires: a profile that parses.
Profile parsed(const Profile& profile, RopePairing pairing);

// KV as the profile says that it is distributed, keys rotated in its pairing.
Bytes tensors_of(const Profile& profile,
                 const PageGeometry& geometry,
                 uint64_t first_position,
                 uint64_t seed);

// In steps of the channels, before rotation.
struct Distance {
  double largest = 0;
  double mean_square = 0;
};

// How far the elements of `other` are from those of `tensors`; vectors that hold something else
// than numbers do not count.
Distance distance(const Profile& profile,
                  const PageGeometry& geometry,
                  uint64_t first_position,
                  ByteSpan tensors,
                  ByteSpan other);

// Decodes a page that must decode.
Bytes decoded(ByteSpan page, const Profile* profile);

}  // namespace sluice::codec
