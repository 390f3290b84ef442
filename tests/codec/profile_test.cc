// Profile files: what comes back, what is refused, and what a profile is not for.
#include "codec/profile.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <numbers>
#include <string>
#include <tuple>

#include "codec/page_layout.h"
#include "codec/profile_layout.h"
#include "src/base/limits.h"
#include "src/base/prng.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

using namespace profile_layout;

// 2 planes, 1 row, 4 frequencies, 3 layers: small enough to break at every byte.
PageGeometry small_geometry() {
  return kv_geometry(DType::f16, 3, 32, 2, 8);
}

Bytes small_file() {
  return profile_file(sample_profile(small_geometry(), RopePairing::neox, 1));
}

constexpr size_t kPlanesAt = kHeaderBytes;
constexpr size_t kRowAt = kPlanesAt + 2 * kPlaneEntryBytes;
constexpr size_t kLayersAt = kRowAt + kRowEntryBytes + 4 * kFrequencyBytes;
constexpr size_t kBlockAt = kLayersAt + 3 * kLayerBytes;
constexpr size_t kChannelAt = kBlockAt + kBlockHeadBytes;

Errc error_of(ByteSpan file) {
  Result<Profile> profile = parse_profile(file, RopePairing::neox);
  return profile.has_error() ? profile.error().code : Errc::ok;
}

// The error of the small file with one little-endian value replaced and the check right.
template <class T>
Errc error_with(size_t at, T value) {
  Bytes file = small_file();
  store_le<T>(file.data() + at, value);
  restamp_profile(file);
  return error_of(file);
}

TEST(Profile, ComesBackFromItsFile) {
  Profile profile = sample_profile(small_geometry(), RopePairing::neox, 1);
  Bytes file = profile_file(profile);
  profile.digest = sha256(file);
  Result<Profile> back = parse_profile(file, RopePairing::neox);
  ASSERT_TRUE(back.has_value()) << back.error().to_string();
  EXPECT_EQ(*back, profile);
  EXPECT_EQ(back->layers[0].rotation, 0);
  EXPECT_EQ(back->layers[2].rotation, kNotRotated);
}

TEST(Profile, OfAModelWithoutRopeServesEveryPairing) {
  PageGeometry geometry{.planes = {{PlaneRole::latent, DType::bf16, 1, 16, 0},
                                   {PlaneRole::state, DType::u8, 2, 3, 0}},
                        .layers = 2,
                        .n_tokens = 32};
  Profile profile = sample_profile(geometry, RopePairing::none, 2);
  EXPECT_TRUE(profile.layers[0].planes[1].channels.empty());
  Bytes file = profile_file(profile);
  profile.digest = sha256(file);
  for (RopePairing pairing : {RopePairing::none, RopePairing::neox, RopePairing::interleaved}) {
    EXPECT_EQ(parse_profile(file, pairing).value(), profile);
  }
}

TEST(Profile, IsPermutedToThePairingThatIsAskedFor) {
  Profile neox = parsed(sample_profile(small_geometry(), RopePairing::neox, 1), RopePairing::neox);
  Profile interleaved = parsed(neox, RopePairing::interleaved);
  EXPECT_EQ(interleaved.pairing, RopePairing::interleaved);
  EXPECT_EQ(interleaved.digest, neox.digest);
  for (size_t head = 0; head < 2; ++head) {
    const ChannelModel* split = neox.layers[1].planes[0].channels.data() + 8 * head;
    const ChannelModel* together = interleaved.layers[1].planes[0].channels.data() + 8 * head;
    for (size_t pair = 0; pair < 4; ++pair) {
      EXPECT_EQ(together[2 * pair], split[pair]);
      EXPECT_EQ(together[2 * pair + 1], split[pair + 4]);
    }
  }
  EXPECT_EQ(interleaved.layers[1].planes[1], neox.layers[1].planes[1]);  // V does not rotate
  Profile back = parsed(interleaved, RopePairing::neox);
  EXPECT_EQ(back.layers, neox.layers);
}

TEST(Profile, PermutesOnlyTheDimsThatRotate) {
  PageGeometry geometry{
      .planes = {{PlaneRole::k, DType::f16, 1, 6, 4}}, .layers = 1, .n_tokens = 32};
  Profile interleaved = sample_profile(geometry, RopePairing::interleaved, 4);
  Profile neox = parsed(interleaved, RopePairing::neox);
  const std::vector<ChannelModel>& from = interleaved.layers[0].planes[0].channels;
  const std::vector<ChannelModel>& to = neox.layers[0].planes[0].channels;
  EXPECT_EQ(to, (std::vector<ChannelModel>{from[0], from[2], from[1], from[3], from[4], from[5]}));
}

TEST(Profile, WithRotatedKeysIsNotForPagesWithoutRope) {
  Result<Profile> profile = parse_profile(small_file(), RopePairing::none);
  ASSERT_TRUE(profile.has_error());
  EXPECT_EQ(profile.error().code, Errc::invalid_argument);
}

TEST(DamagedProfile, CutAnywhereIsTruncated) {
  Bytes file = small_file();
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_EQ(error_of(ByteSpan(file).first(size)), Errc::truncated) << size;
  }
}

TEST(DamagedProfile, EveryFlippedBitIsNoticed) {
  Bytes file = small_file();
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    file[bit / 8] = static_cast<uint8_t>(file[bit / 8] ^ 1 << bit % 8);
    EXPECT_NE(error_of(file), Errc::ok) << "bit " << bit;
    file[bit / 8] = static_cast<uint8_t>(file[bit / 8] ^ 1 << bit % 8);
  }
}

TEST(DamagedProfile, BytesBehindTheEndAreRefused) {
  Bytes file = small_file();
  file.push_back(0);
  EXPECT_EQ(error_of(file), Errc::bad_value);
  restamp_profile(file);  // now the file says so itself, but its note does not
  EXPECT_EQ(error_of(file), Errc::bad_value);
}

// With the right check a profile of other content is another profile, or an error that says why
// not.
TEST(ForgedProfile, WithEveryByteReplacedIsAnotherOneOrRefused) {
  Bytes good = small_file();
  Hash32 digest = sha256(good);
  for (size_t at = 0; at < good.size(); ++at) {
    for (uint8_t flip : std::array<uint8_t, 4>{0x01, 0x10, 0x80, 0xff}) {
      Bytes file = good;
      file[at] = static_cast<uint8_t>(file[at] ^ flip);
      restamp_profile(file);
      Result<Profile> profile = parse_profile(file, RopePairing::neox);
      if (profile.has_value() && file != good) {
        EXPECT_NE(profile->digest, digest) << at;
        EXPECT_EQ(profile_file(parsed(*profile, RopePairing::neox)).size(), file.size());
      }
    }
  }
}

TEST(ForgedProfile, IsRefusedForEachHeaderField) {
  EXPECT_EQ(error_with(kMagic.at, uint8_t{0}), Errc::bad_magic);
  EXPECT_EQ(error_with(kVersion.at, uint8_t{2}), Errc::bad_version);
  Bytes file = small_file();
  file[kCheck.at] ^= 1;
  EXPECT_EQ(error_of(file), Errc::bad_checksum);
  file = small_file();
  store_le(file.data() + kProfileBytes.at, kProfileBytesMax + 1);
  EXPECT_EQ(error_of(file), Errc::too_large);
  EXPECT_EQ(error_with(kPlanes.at, uint8_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kPlanes.at, uint8_t{17}), Errc::bad_value);
  EXPECT_EQ(error_with(kRows.at, uint8_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kRows.at, uint8_t{4}), Errc::bad_value);
  EXPECT_EQ(error_with(kPairing.at, uint8_t{3}), Errc::bad_value);
  EXPECT_EQ(error_with(kPairing.at, uint8_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kLayers.at, uint32_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kLayers.at, uint32_t{4097}), Errc::bad_value);
  EXPECT_NE(error_with(kLayers.at, uint32_t{4096}), Errc::ok);  // more than the file holds
  EXPECT_EQ(error_with(kSinks.at, uint32_t{4097}), Errc::bad_value);
  EXPECT_EQ(error_with(kPairs.at, uint32_t{3}), Errc::bad_value);
  EXPECT_EQ(error_with(kRotations.at, uint16_t{4}), Errc::bad_value);  // more than layers
  EXPECT_EQ(error_with(kNoteBytes.at, uint16_t{8}), Errc::bad_value);
  EXPECT_EQ(error_with(kExtrasBytes.at, uint32_t{7}), Errc::bad_value);  // the note has 7
  EXPECT_EQ(error_with(kExtrasBytes.at, uint32_t{8}), Errc::bad_value);
  EXPECT_EQ(error_with(kReserved0.at, uint8_t{1}), Errc::reserved_set);
  for (uint32_t i = 0; i < kReserved1.bytes; ++i) {
    EXPECT_EQ(error_with(kReserved1.at + i, uint8_t{1}), Errc::reserved_set);
  }
}

// The error of a small profile with a basis, changed before it is written.
Errc error_of_basis(BasisKind kind, const std::function<void(Profile&, PlaneModel&)>& change) {
  Profile profile = sample_profile(small_geometry(), RopePairing::neox, 1);
  add_basis(profile, kind, 2);
  change(profile, profile.layers[1].planes[0]);
  return error_of(profile_file(profile));
}

TEST(ForgedProfile, IsRefusedForEachFieldOfItsBases) {
  const auto error_of_pair = [](const std::function<void(GivensPair&)>& change) {
    return error_of_basis(kGivens, [&](Profile&, PlaneModel& m) { change(m.basis.pairs[9]); });
  };
  EXPECT_EQ(error_of_pair([](GivensPair&) {}), Errc::ok);
  EXPECT_EQ(error_of_pair([](GivensPair& p) { p.first = 16; }), Errc::bad_value);
  EXPECT_EQ(error_of_pair([](GivensPair& p) { p.second = 16; }), Errc::bad_value);
  EXPECT_EQ(error_of_pair([](GivensPair& p) { p.second = p.first; }), Errc::bad_value);
  EXPECT_EQ(error_of_pair([](GivensPair& p) { p.cosine = -32768; }), Errc::bad_value);
  EXPECT_EQ(error_of_pair([](GivensPair& p) { p.sine = -32768; }), Errc::bad_value);
  const auto error_of_model = [](BasisKind kind, const std::function<void(PlaneModel&)>& change) {
    return error_of_basis(kind, [&](Profile&, PlaneModel& m) { change(m); });
  };
  EXPECT_EQ(error_of_model(kGivens, [](PlaneModel& m) { m.basis.pairs[9] = m.basis.pairs[8]; }),
            Errc::bad_value);
  EXPECT_EQ(error_of_model(kGivens, [](PlaneModel& m) { m.step_bits = 8; }), Errc::bad_value);
  EXPECT_EQ(error_of_model(kMatrices, [](PlaneModel&) {}), Errc::ok);
  EXPECT_EQ(error_of_model(kMatrices, [](PlaneModel& m) { m.basis.matrices[3] = -32768; }),
            Errc::bad_value);
  for (const uint32_t channels : {0u, 4u, 12u, 32u}) {
    EXPECT_EQ(error_of_model(kMatrices, [=](PlaneModel& m) { m.basis.matrix_channels = channels; }),
              Errc::bad_value)
        << channels;
  }
}

TEST(ForgedProfile, HasRowsThatFollowEachOtherDownToQ1) {
  const auto error_of_rows = [](const std::vector<Row>& rows) {
    return error_of_basis(kIdentity, [&](Profile& profile, PlaneModel&) { profile.rows = rows; });
  };
  const Row q3{Level::q3, 9}, q2{Level::q2, 8}, q1{Level::q1, 7}, exact{};
  EXPECT_EQ(error_of_rows({q3, q2, q1}), Errc::ok);
  EXPECT_EQ(error_of_rows({q2, q1}), Errc::ok);
  EXPECT_EQ(error_of_rows({q3, q2}), Errc::bad_value);
  EXPECT_EQ(error_of_rows({q3, q1}), Errc::bad_value);
  EXPECT_EQ(error_of_rows({q1, exact}), Errc::bad_value);
  EXPECT_EQ(error_of_rows({{Level::q2, 6}, q1}), Errc::bad_value);
}

TEST(ForgedProfile, IsRefusedForEachFieldOfItsEntries) {
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneRole.at, uint8_t{9}), Errc::bad_value);
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneDtype.at, uint8_t{2}), Errc::reserved_set);
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneStored.at, uint8_t{2}), Errc::reserved_set);
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneReserved0.at, uint8_t{1}), Errc::reserved_set);
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneReserved1.at, uint8_t{1}), Errc::reserved_set);
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneHeads.at, uint16_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneDim.at, uint32_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneDim.at, uint32_t{0xffffffff}), Errc::bad_value);
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneRotated.at, uint32_t{6}), Errc::bad_value);
  EXPECT_EQ(error_with(kPlanesAt + layout::kPlaneRotated.at, uint32_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kRowAt + layout::kRowLevel.at, uint8_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kRowAt + layout::kRowLevel.at, uint8_t{2}), Errc::bad_value);
  EXPECT_EQ(error_with(kRowAt + layout::kRowKl.at, uint32_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kRowAt + layout::kRowReserved.at, uint8_t{1}), Errc::reserved_set);
  EXPECT_EQ(error_with(kLayersAt + kLayerBytes + kLayer.at, uint32_t{0}), Errc::bad_value);
  EXPECT_EQ(error_with(kLayersAt + kLayerRotation.at, uint8_t{1}), Errc::bad_value);
  EXPECT_EQ(error_with(kLayersAt + kLayerReserved0.at, uint8_t{1}), Errc::reserved_set);
  EXPECT_EQ(error_with(kBlockAt + kExponent.at, uint8_t{127}), Errc::bad_value);
  EXPECT_EQ(error_with(kBlockAt + kExponent.at, static_cast<uint8_t>(-65)), Errc::bad_value);
  EXPECT_EQ(error_with(kBlockAt + kExponent.at, static_cast<uint8_t>(-64)), Errc::ok);
  EXPECT_EQ(error_with(kBlockAt + kBlockReserved0.at, uint8_t{1}), Errc::reserved_set);
  EXPECT_EQ(error_with(kChannelAt + kMean.at, uint32_t{(1u << 22) + 1}), Errc::bad_value);
  EXPECT_EQ(error_with(kChannelAt + kMean.at, 0u - ((1u << 22) + 1)), Errc::bad_value);
  EXPECT_EQ(error_with(kChannelAt + kMean.at, 0u - (1u << 22)), Errc::ok);
  EXPECT_EQ(error_with(kChannelAt + kMantissa.at, uint16_t{16383}), Errc::bad_value);
  EXPECT_EQ(error_with(kChannelAt + kMantissa.at, uint16_t{32768}), Errc::bad_value);
  EXPECT_EQ(error_with(kChannelAt + kShift.at, uint8_t{7}), Errc::bad_value);
  EXPECT_EQ(error_with(kChannelAt + kShift.at, uint8_t{31}), Errc::bad_value);
  EXPECT_EQ(error_with(kChannelAt + kScale.at, uint8_t{32}), Errc::bad_value);
}

TEST(ForgedProfile, SaysWhereWhatItRefusesStands) {
  for (const auto& [at, value, place] : std::vector<std::tuple<size_t, uint8_t, size_t>>{
           {kPlanesAt + layout::kPlaneRole.at, 9, kPlanesAt},
           {kBlockAt + kFiner.at, 5, kBlockAt},
           {kBlockAt + kBasis.at, 3, kBlockAt},
           {kChannelAt + kScale.at, 32, kChannelAt}}) {
    Bytes file = small_file();
    file[at] = value;
    restamp_profile(file);
    const std::string text = parse_profile(file, RopePairing::neox).error().text;
    EXPECT_NE(text.find(fmt::format("offset {}", place)), std::string::npos) << text;
  }
}

TEST(ForgedProfile, ThatCodesNothingIsRefused) {
  PageGeometry geometry{
      .planes = {{PlaneRole::state, DType::u8, 1, 4, 0}}, .layers = 1, .n_tokens = 32};
  EXPECT_EQ(error_of(profile_file(sample_profile(geometry, RopePairing::none, 1))),
            Errc::bad_value);
}

// A profile and the descriptor of the space whose pages it is for.
struct Fitting {
  Profile profile =
      parsed(sample_profile(small_geometry(), RopePairing::neox, 1), RopePairing::neox);
  Descriptor descriptor;

  Fitting() {
    descriptor.model_digest = profile.model_digest;
    descriptor.layers = {0, 2, 4};
    descriptor.heads = 2;
    descriptor.planes = small_geometry().planes;
    descriptor.rope = {.pairing = RopePairing::neox, .base = 10000};
    descriptor.page_tokens = 64;
  }

  Errc error() const {
    Status status = check_profile(profile, descriptor);
    return status.has_error() ? status.error().code : Errc::ok;
  }

  // Makes the profile's frequencies these: radians a position.
  void turn_by(std::vector<double> radians) {
    for (size_t pair = 0; pair < radians.size(); ++pair) {
      double turns = radians[pair] / (2 * std::numbers::pi);
      profile.frequencies[0][pair] = static_cast<uint64_t>(std::ldexp(turns, 64));
    }
  }
};

TEST(ProfileFit, TakesTheModelThatItWasMeasuredOn) {
  Fitting fitting;
  EXPECT_EQ(fitting.error(), Errc::ok);
  for (Plane& plane : fitting.descriptor.planes) {
    plane.dtype = DType::bf16;
  }
  EXPECT_EQ(fitting.error(), Errc::ok);
}

TEST(ProfileFit, RefusesAnythingElseAndNamesIt) {
  Fitting fitting;
  fitting.descriptor.model_digest[31] ^= 1;
  EXPECT_EQ(fitting.error(), Errc::identity_mismatch);
  std::string text = check_profile(fitting.profile, fitting.descriptor).error().text;
  EXPECT_NE(text.find(to_hex(fitting.profile.model_digest)), std::string::npos) << text;
  EXPECT_NE(text.find(to_hex(fitting.descriptor.model_digest)), std::string::npos) << text;
  fitting = Fitting();
  fitting.descriptor.lora_digest = Hash32{};
  EXPECT_EQ(fitting.error(), Errc::identity_mismatch);
  fitting = Fitting();
  fitting.descriptor.layers = {0, 2, 5};
  EXPECT_EQ(fitting.error(), Errc::identity_mismatch);
  fitting = Fitting();
  fitting.descriptor.first_head = 2;
  EXPECT_EQ(fitting.error(), Errc::identity_mismatch);
  fitting = Fitting();
  fitting.descriptor.planes[0].dim = 16;
  EXPECT_EQ(fitting.error(), Errc::layout_mismatch);
  fitting = Fitting();
  fitting.descriptor.rope.pairing = RopePairing::interleaved;
  EXPECT_EQ(fitting.error(), Errc::identity_mismatch);
  fitting = Fitting();
  fitting.descriptor.rope.base = 10100;
  EXPECT_EQ(fitting.error(), Errc::identity_mismatch);
}

TEST(ProfileFit, ComparesFrequenciesAfterEachScaling) {
  const std::vector<double> plain = {1, 0.1, 0.01, 0.001};
  Fitting fitting;
  fitting.descriptor.rope.scaling = RopeScaling::linear;
  fitting.descriptor.rope.factor = 4;
  EXPECT_EQ(fitting.error(), Errc::identity_mismatch);
  fitting.turn_by({0.25, 0.025, 0.0025, 0.00025});
  EXPECT_EQ(fitting.error(), Errc::ok);

  // Within 1000 tokens the pairs turn 159, 16, 1.6 and 0.16 times.
  Rope llama3{.pairing = RopePairing::neox, .base = 10000, .scaling = RopeScaling::llama3};
  llama3.factor = 8;
  llama3.original_context = 1000;
  llama3.low = 1;
  llama3.high = 4;
  fitting.descriptor.rope = llama3;
  double smooth = (1000 * 0.01 / (2 * std::numbers::pi) - 1) / 3;
  fitting.turn_by({1, 0.1, 0.01 * (smooth + (1 - smooth) / 8), 0.001 / 8});
  EXPECT_EQ(fitting.error(), Errc::ok);
  fitting.turn_by(plain);
  EXPECT_EQ(fitting.error(), Errc::identity_mismatch);

  // Pairs 0.69.. (beta 32) and 2.2.. (beta 1) round to 0 and 3: a third of interpolation a pair.
  Rope yarn = llama3;
  yarn.scaling = RopeScaling::yarn;
  yarn.low = 1;
  yarn.high = 32;
  fitting.descriptor.rope = yarn;
  fitting.turn_by({1, 0.1 * (2 + 1.0 / 8) / 3, 0.01 * (1 + 2.0 / 8) / 3, 0.001 / 8});
  EXPECT_EQ(fitting.error(), Errc::ok);

  Rope longrope{.pairing = RopePairing::neox, .base = 10000, .scaling = RopeScaling::longrope};
  longrope.original_context = 1000;
  longrope.factors = {1, 2, 4, 8};
  fitting.descriptor.rope = longrope;
  fitting.turn_by({1, 0.05, 0.0025, 0.000125});
  EXPECT_EQ(fitting.error(), Errc::ok);
  fitting.descriptor.rope.factors = {1, 2, 4};  // for another model
  EXPECT_EQ(fitting.error(), Errc::identity_mismatch);
}

}  // namespace
}  // namespace sluice::codec
