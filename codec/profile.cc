#include "codec/profile.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "codec/field_access.h"
#include "codec/page_check.h"
#include "codec/page_layout.h"
#include "codec/profile_block.h"
#include "codec/profile_extras.h"
#include "codec/profile_layout.h"
#include "codec/progressive_rom.h"
#include "src/base/limits.h"

namespace sluice::codec {
namespace {

using namespace profile_layout;

constexpr std::string_view kWhat = "profile";

// What a header field holds, or the error that it is out of range.
Result<uint32_t> in_range(std::string_view field, uint32_t value, uint32_t low, uint32_t high) {
  if (value < low || value > high) {
    return SLUICE_ERR(
        Errc::bad_value, "profile: {} is {}, expected {}..{}", field, value, low, high);
  }
  return value;
}

// The file, whole, of this version and with the right check.
Status check_file(ByteSpan file) {
  if (file.size() < kHeaderBytes) {
    return SLUICE_ERR(
        Errc::truncated, "profile: {} bytes, the header has {}", file.size(), kHeaderBytes);
  }
  auto magic = load_field<uint32_t>(file, kMagic);
  if (magic != kMagicValue) {
    return SLUICE_ERR(
        Errc::bad_magic, "profile: magic {:#010x}, expected {:#010x}", magic, kMagicValue);
  }
  auto version = load_field<uint32_t>(file, kVersion);
  if (version != kVersionValue) {
    return SLUICE_ERR(
        Errc::bad_version, "profile: version {}, this version reads {}", version, kVersionValue);
  }
  auto bytes = load_field<uint32_t>(file, kProfileBytes);
  if (bytes > kProfileBytesMax) {
    return SLUICE_ERR(
        Errc::too_large, "profile: says {} bytes, at most {}", bytes, kProfileBytesMax);
  }
  if (bytes != file.size()) {
    return SLUICE_ERR(file.size() < bytes ? Errc::truncated : Errc::bad_value,
                      "profile: says {} bytes, the file has {}",
                      bytes,
                      file.size());
  }
  Hash32 digest = sha256(file.subspan(kCheckedFrom));
  if (!std::equal(digest.begin(), digest.begin() + kCheck.bytes, file.begin() + kCheck.at)) {
    return SLUICE_ERR(Errc::bad_checksum,
                      "profile: its check does not fit its content, the file is damaged; copy or "
                      "measure it again");
  }
  return {};
}

// The parts of a file that is whole, one behind the other.
class ProfileParser {
 public:
  explicit ProfileParser(ByteSpan file)
      : file_(file), parts_(file.subspan(kHeaderBytes), kHeaderBytes) {}

  Result<Profile> parse() {
    profile_.digest = sha256(file_);
    std::copy_n(file_.begin() + kModelDigest.at,
                profile_.model_digest.size(),
                profile_.model_digest.begin());
    SLUICE_CHECK(parse_header());
    SLUICE_CHECK(parse_planes());
    SLUICE_CHECK(parse_rows());
    SLUICE_CHECK(parse_frequencies());
    SLUICE_CHECK(parse_layers());
    SLUICE_CHECK(parse_blocks());
    SLUICE_CHECK(parse_extras());
    if (parts_.rest().size() != load_field<uint16_t>(file_, kNoteBytes)) {
      return SLUICE_ERR(Errc::bad_value,
                        "profile: {} bytes at its end, the note has {}",
                        parts_.rest().size(),
                        load_field<uint16_t>(file_, kNoteBytes));
    }
    profile_.note.assign(parts_.rest().begin(), parts_.rest().end());
    return std::move(profile_);
  }

 private:
  Status parse_header() {
    SLUICE_CHECK(expect_zero(file_, kReserved0, kWhat, 0));
    SLUICE_CHECK(expect_zero(file_, kReserved1, kWhat, 0));
    SLUICE_TRY(uint32_t pairing, in_range("pairing", load_field<uint8_t>(file_, kPairing), 0, 2));
    profile_.pairing = static_cast<RopePairing>(pairing);
    SLUICE_TRY(profile_.sinks,
               in_range("sinks", load_field<uint32_t>(file_, kSinks), 0, kPageTokensMax));
    profile_.first_head = load_field<uint32_t>(file_, kFirstHead);
    return {};
  }

  Status parse_planes() {
    SLUICE_TRY(uint32_t planes,
               in_range("planes", load_field<uint8_t>(file_, kPlanes), 1, kPlanesMax));
    bool rotates = false, codes = false;
    for (uint32_t i = 0; i < planes; ++i) {
      size_t at = parts_.offset();
      SLUICE_TRY(ByteSpan entry, parts_.take(kPlaneEntryBytes, "planes"));
      for (const Field* field : {&layout::kPlaneDtype,
                                 &layout::kPlaneStored,
                                 &layout::kPlaneReserved0,
                                 &layout::kPlaneReserved1}) {
        SLUICE_CHECK(expect_zero(entry, *field, kWhat, at));
      }
      Plane plane;
      const auto role = load_field<uint8_t>(entry, layout::kPlaneRole);
      SLUICE_TRY(plane.role, of_entry(kWhat, at, role_from_wire(role)));
      plane.heads = load_field<uint16_t>(entry, layout::kPlaneHeads);
      plane.dim = load_field<uint32_t>(entry, layout::kPlaneDim);
      plane.rotated_dims = load_field<uint32_t>(entry, layout::kPlaneRotated);
      SLUICE_CHECK(check_plane(i, plane));
      rotates = rotates || plane.rotated_dims != 0;
      codes = codes || is_tensor_role(plane.role);
      profile_.planes.push_back(plane);
    }
    if (!codes || rotates != (profile_.pairing != RopePairing::none)) {
      return SLUICE_ERR(Errc::bad_value,
                        "profile: {} plane is coded, {} rotates, pairing {}: at least one must be "
                        "coded, and a pairing is there where one rotates",
                        codes ? "a" : "no",
                        rotates ? "one" : "none",
                        pairing_name(profile_.pairing));
    }
    return {};
  }

  Status check_plane(uint32_t index, const Plane& plane) const {
    auto pairs = load_field<uint32_t>(file_, kPairs);
    bool turns = plane.rotated_dims != 0;
    bool good = plane.heads != 0 && plane.dim != 0 && plane.rotated_dims <= plane.dim &&
                (!turns || plane.rotated_dims == uint64_t{2} * pairs);
    if (!good) {
      return SLUICE_ERR(Errc::bad_value,
                        "profile: plane {} of {} heads x {}, {} rotated: heads and dim at least 1, "
                        "rotated at most dim and none or twice the {} pairs",
                        index,
                        plane.heads,
                        plane.dim,
                        plane.rotated_dims,
                        pairs);
    }
    return {};
  }

  Status parse_rows() {
    SLUICE_TRY(uint32_t rows, in_range("rows", load_field<uint8_t>(file_, kRows), 1, kRowsMax - 1));
    for (uint32_t i = 0; i < rows; ++i) {
      size_t at = parts_.offset();
      SLUICE_TRY(ByteSpan entry, parts_.take(kRowEntryBytes, "rows"));
      SLUICE_CHECK(expect_zero(entry, layout::kRowReserved, kWhat, at));
      profile_.rows.push_back(
          {.level = static_cast<Level>(load_field<uint8_t>(entry, layout::kRowLevel)),
           .kl = load_field<uint32_t>(entry, layout::kRowKl)});
    }
    if (profile_.rows.back().level != Level::q1) {
      return SLUICE_ERR(Errc::bad_value,
                        "profile: the last of its rows is {}, expected q1",
                        level_name(profile_.rows.back().level));
    }
    return check_lossy_rows(profile_.rows, kWhat);
  }

  Status parse_frequencies() {
    auto pairs = load_field<uint32_t>(file_, kPairs);
    bool turns = profile_.pairing != RopePairing::none;
    SLUICE_CHECK(in_range("pairs", pairs, 0, turns ? std::numeric_limits<uint32_t>::max() : 0));
    auto layers = load_field<uint32_t>(file_, kLayers);
    SLUICE_TRY(uint32_t rotations,
               in_range("rotations",
                        load_field<uint16_t>(file_, kRotations),
                        0,
                        turns ? std::min<uint32_t>(layers, kNoRotation) : 0));
    for (uint32_t i = 0; i < rotations; ++i) {
      SLUICE_TRY(ByteSpan bytes, parts_.take(uint64_t{pairs} * kFrequencyBytes, "frequencies"));
      std::vector<uint64_t> list(pairs);
      for (size_t pair = 0; pair < list.size(); ++pair) {
        list[pair] = load_le<uint64_t>(bytes.data() + kFrequencyBytes * pair);
      }
      profile_.frequencies.push_back(std::move(list));
    }
    return {};
  }

  Status parse_layers() {
    SLUICE_TRY(uint32_t layers,
               in_range("layers", load_field<uint32_t>(file_, kLayers), 1, kLayersMax));
    for (uint32_t i = 0; i < layers; ++i) {
      size_t at = parts_.offset();
      SLUICE_TRY(ByteSpan entry, parts_.take(kLayerBytes, "layers"));
      SLUICE_CHECK(expect_zero(entry, kLayerReserved0, kWhat, at));
      LayerModel layer{.layer = load_field<uint32_t>(entry, kLayer)};
      auto rotation = load_field<uint8_t>(entry, kLayerRotation);
      bool known = rotation == kNoRotation || rotation < profile_.frequencies.size();
      if (!known || (i != 0 && layer.layer <= profile_.layers.back().layer)) {
        return SLUICE_ERR(Errc::bad_value,
                          "profile: entry {} says layer {} with rotation {}: layers ascend, "
                          "rotations are below {} or {}",
                          i,
                          layer.layer,
                          rotation,
                          profile_.frequencies.size(),
                          kNoRotation);
      }
      layer.rotation = rotation == kNoRotation ? kNotRotated : rotation;
      profile_.layers.push_back(std::move(layer));
    }
    return {};
  }

  Status parse_blocks() {
    for (LayerModel& layer : profile_.layers) {
      for (const Plane& plane : profile_.planes) {
        PlaneModel model;
        if (is_tensor_role(plane.role)) {
          SLUICE_CHECK(parse_block(parts_, plane, layer.layer, model));
        }
        layer.planes.push_back(std::move(model));
      }
    }
    return {};
  }

  Status parse_extras() {
    size_t at = parts_.offset();
    SLUICE_TRY(ByteSpan bytes, parts_.take(load_field<uint32_t>(file_, kExtrasBytes), "extras"));
    SLUICE_TRY(profile_.extras, codec::parse_extras(bytes, at));
    return {};
  }

  ByteSpan file_;
  ProfileParts parts_;
  Profile profile_;
};

// Which channel each comes from where rotated ones are put into the order of `pairing`.
std::vector<uint32_t> reordered(const Plane& plane, RopePairing pairing) {
  std::vector<uint32_t> old_of(plane.width());
  std::iota(old_of.begin(), old_of.end(), 0u);
  const uint32_t pairs = plane.rotated_dims / 2;
  for (uint32_t head = 0; head < plane.heads; ++head) {
    const uint32_t first = head * plane.dim;
    for (uint32_t i = 0; i < plane.rotated_dims; ++i) {
      const uint32_t split = first + i / 2 + i % 2 * pairs;
      const uint32_t together = first + i;
      (pairing == RopePairing::neox ? old_of[split] : old_of[together]) =
          pairing == RopePairing::neox ? together : split;
    }
  }
  return old_of;
}

// Puts the rotated channels of every head into the order of `pairing`; the other order goes out.
void reorder(Profile& profile, RopePairing pairing) {
  for (LayerModel& layer : profile.layers) {
    for (size_t p = 0; p < profile.planes.size(); ++p) {
      const Plane& plane = profile.planes[p];
      if (plane.rotated_dims == 0 || layer.planes[p].channels.empty()) {
        continue;
      }
      const std::vector<uint32_t> old_of = reordered(plane, pairing);
      PlaneModel& model = layer.planes[p];
      const std::vector<ChannelModel> old = model.channels;
      for (size_t i = 0; i < old.size(); ++i) {
        model.channels[i] = old[old_of[i]];
      }
      permute_basis(model.basis, old_of);
    }
  }
  profile.pairing = pairing;
}

}  // namespace

Result<Profile> parse_profile(ByteSpan file, RopePairing pairing) {
  SLUICE_CHECK(check_file(file));
  SLUICE_TRY(Profile profile, ProfileParser(file).parse());
  if (profile.pairing == pairing || profile.pairing == RopePairing::none) {
    return profile;
  }
  if (pairing == RopePairing::none) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "profile {}: its keys rotate, asked for pairing none; give the pairing of "
                      "the descriptor's rope",
                      to_hex(profile.digest));
  }
  reorder(profile, pairing);
  return profile;
}

}  // namespace sluice::codec
