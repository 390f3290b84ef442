// Extras of profile files: what comes back, and what is refused.
#include <gtest/gtest.h>

#include "codec/profile.h"
#include "codec/profile_layout.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

using namespace profile_layout;

Profile small_profile(std::vector<ProfileExtra> extras) {
  PageGeometry geometry = kv_geometry(DType::f16, 1, 32, 1, 4);
  Profile profile = sample_profile(geometry, RopePairing::neox, 1);
  profile.extras = std::move(extras);
  return profile;
}

Bytes marks(const std::vector<uint64_t>& values) {
  Bytes out(kMarkBytes * values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    store_le(out.data() + kMarkBytes * i, values[i]);
  }
  return out;
}

Errc error_of_file(ByteSpan file) {
  Result<Profile> profile = parse_profile(file, RopePairing::neox);
  return profile.has_error() ? profile.error().code : Errc::ok;
}

Errc error_of(std::vector<ProfileExtra> extras) {
  return error_of_file(profile_file(small_profile(std::move(extras))));
}

TEST(ProfileExtras, ComeBackWithThoseOfUnknownKinds) {
  const Profile profile =
      small_profile({{kExtraMarks, marks({1, 2, 1u << 31})}, {77, Bytes{1, 2, 3}}, {78, {}}});
  const Profile back = parsed(profile, RopePairing::neox);
  EXPECT_EQ(back.extras, profile.extras);
  EXPECT_EQ(back.note, profile.note);
  EXPECT_EQ(back.layers, profile.layers);
}

TEST(ProfileExtras, ChangeTheProfilesName) {
  EXPECT_NE(parsed(small_profile({{77, Bytes{1}}}), RopePairing::neox).digest,
            parsed(small_profile({{77, Bytes{2}}}), RopePairing::neox).digest);
}

TEST(ProfileExtras, OfKindsThatDoNotAscendAreRefused) {
  EXPECT_EQ(error_of({{0, {}}}), Errc::bad_value);
  EXPECT_EQ(error_of({{5, {}}, {5, {}}}), Errc::bad_value);
  EXPECT_EQ(error_of({{5, {}}, {4, {}}}), Errc::bad_value);
  EXPECT_EQ(error_of({{4, {}}, {5, {}}}), Errc::ok);
}

TEST(ProfileExtras, MarksThatAreNotWholeOrDoNotAscendAreRefused) {
  EXPECT_EQ(error_of({{kExtraMarks, Bytes(9)}}), Errc::bad_value);
  EXPECT_EQ(error_of({{kExtraMarks, marks({3, 3})}}), Errc::bad_value);
  EXPECT_EQ(error_of({{kExtraMarks, marks({3, 2})}}), Errc::bad_value);
  EXPECT_EQ(error_of({{kExtraMarks, {}}}), Errc::ok);
}

TEST(ProfileExtras, OfEveryLengthThatDoesNotFitAreRefused) {
  const Profile profile = small_profile({{77, Bytes(5)}, {78, Bytes(6)}});
  const Bytes good = profile_file(profile);
  const size_t first = good.size() - profile.note.size() - 27;
  ASSERT_EQ(load_le<uint32_t>(good.data() + first), 77u);
  for (uint32_t length : {0u, 1u, 4u, 6u, 12u, 19u, 20u, 0xffffffffu}) {
    Bytes file = good;
    store_le(file.data() + first + kExtraBytes.at, length);
    restamp_profile(file);
    // With 19 the first extra is all: what looks like the second is its content.
    EXPECT_EQ(error_of_file(file), length == 19 ? Errc::ok : Errc::bad_value) << length;
  }
}

}  // namespace
}  // namespace sluice::codec
