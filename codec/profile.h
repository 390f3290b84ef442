// A profile: what was measured of one KV group of one model, and what `progressive` pages are coded
// with (FORMAT.md, "Profile").
//
// Not how a profile is measured (python/sluice_kv) and not where its file lies: bytes in, values
// out. Pure, any thread; a Profile is read-only once it is parsed. Every byte read is untrusted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codec/basis.h"
#include "codec/page.h"
#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/result.h"
#include "src/model/descriptor.h"
#include "src/model/geometry.h"
#include "src/model/rope.h"

namespace sluice::codec {

inline constexpr int kNotRotated = -1;

// How one channel of one layer is coded, and the component of the same number.
struct ChannelModel {
  int32_t mean = 0;       // in units of 2^-exponent of its block
  uint16_t mantissa = 0;  // a coefficient of 1 is mantissa / 2^shift such units
  uint8_t shift = 0;
  uint8_t scale = 0;  // of the component, row of the ROM: how wide it is, in steps of the first row

  bool operator==(const ChannelModel&) const = default;
};

// One plane of one layer.
struct PlaneModel {
  int exponent = 0;
  uint32_t step_bits = 3;  // a step of level q1 is 2^step_bits coefficients
  Basis basis;
  std::vector<ChannelModel> channels;  // heads x dim; empty for planes that are not coded

  bool operator==(const PlaneModel&) const = default;
};

struct LayerModel {
  uint32_t layer = 0;          // number of the transformer layer
  int rotation = kNotRotated;  // index into Profile::frequencies
  std::vector<PlaneModel> planes;

  bool operator==(const LayerModel&) const = default;
};

// Material beside the codec; no page is coded with it.
struct ProfileExtra {
  uint32_t kind = 0;
  Bytes content;

  bool operator==(const ProfileExtra&) const = default;
};

struct Profile {
  Hash32 digest{};        // SHA-256 of the file: the profile's name
  Hash32 model_digest{};  // the model that it was measured on
  // The order in which `layers` lists rotated channels; in a parsed profile, what the caller
  // asked for.
  RopePairing pairing = RopePairing::none;
  uint32_t first_head = 0;
  uint32_t sinks = 0;         // first tokens of a context that travel exactly
  std::vector<Plane> planes;  // dtype says nothing
  std::vector<Row> rows;      // levels and measured KL of the pages made with it; the last is q1
  std::vector<std::vector<uint64_t>> frequencies;  // [rotation][pair], turns x 2^64 per position
  std::vector<LayerModel> layers;
  std::vector<ProfileExtra> extras;  // kinds ascend
  std::string note;                  // how and on what it was measured

  bool operator==(const Profile&) const = default;
};

// Parses a whole profile file. Channels of rotated planes come out in the order of `pairing`, that
// of the descriptor whose pages it will serve; the file may have the other one.
// Errors: truncated, bad_magic, bad_version, too_large, bad_checksum, reserved_set, bad_value,
// invalid_argument (pairing none for a profile with rotated planes).
Result<Profile> parse_profile(ByteSpan file, RopePairing pairing);

// Checks that the profile is for pages of this shape; dtypes may be any.
// Errors: layout_mismatch (the text names what differs).
Status check_profile_geometry(const Profile& profile, const PageGeometry& geometry);

// Checks that the profile was measured on this model, layers and heads, and that its keys turn as
// the descriptor's rope says. Errors: identity_mismatch, layout_mismatch (the text names what
// differs).
Status check_profile(const Profile& profile, const Descriptor& descriptor);

}  // namespace sluice::codec
