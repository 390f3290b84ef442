#include "src/cache/space_table.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/cache/sample_page.h"

namespace sluice::cache {
namespace {

Descriptor salted(uint32_t number) {
  Descriptor descriptor = sample_descriptor();
  descriptor.user_salt = {static_cast<uint8_t>(number), static_cast<uint8_t>(number >> 8)};
  return descriptor;
}

std::shared_ptr<Space> open(SpaceTable& table, const Descriptor& descriptor, uint32_t tenant = 0) {
  auto space = table.open(tenant, bytes_of(descriptor));
  EXPECT_TRUE(space.has_value());
  return *space;
}

TEST(SpaceTable, TheSameDescriptorIsTheSameSpace) {
  SpaceTable table;
  auto space = open(table, sample_descriptor());
  EXPECT_EQ(open(table, sample_descriptor()), space);
  EXPECT_EQ(space->id, space_id(bytes_of(sample_descriptor())));
  EXPECT_EQ(space->geometry, geometry(sample_descriptor()));
  EXPECT_NE(open(table, salted(1)), space);
  EXPECT_NE(open(table, sample_descriptor(), 5), space);
}

TEST(SpaceTable, RefusesADescriptorThatDoesNotParse) {
  SpaceTable table;
  Bytes bytes = bytes_of(sample_descriptor());
  bytes.pop_back();
  EXPECT_EQ(table.open(0, bytes).error().code, Errc::truncated);
}

TEST(SpaceTable, ForgetsTheSpacesThatWereOpenedLongestAgo) {
  SpaceTable table;
  auto first = open(table, salted(0));
  for (uint32_t i = 1; i < kSpacesPerTenantMax; ++i) {
    open(table, salted(i));
  }
  EXPECT_EQ(open(table, salted(0)), first);
  auto second = open(table, salted(1));
  open(table, salted(kSpacesPerTenantMax));
  EXPECT_EQ(open(table, salted(1)), second);
  auto third = open(table, salted(2));
  EXPECT_EQ(third.use_count(), 2);
  EXPECT_EQ(first.use_count(), 2);
  open(table, salted(kSpacesPerTenantMax + 1));
  open(table, salted(kSpacesPerTenantMax + 2));
  // Long since opened first, still usable by its holder.
  for (uint32_t i = 3; i < kSpacesPerTenantMax; ++i) {
    open(table, salted(i));
  }
  EXPECT_EQ(first.use_count(), 1);
  EXPECT_EQ(first->geometry, geometry(sample_descriptor()));
}

TEST(SpaceTable, AMissNamesTheNearestStoredSpaceAndWhatDiffers) {
  SpaceTable table;
  auto here = open(table, sample_descriptor());
  EXPECT_EQ(table.explain_miss(*here), "nothing was stored yet");

  Descriptor far = sample_descriptor(64);
  far.model_digest.fill(0x22);
  open(table, far)->stored = true;
  Descriptor nearest = sample_descriptor(64);
  open(table, nearest)->stored = true;
  Descriptor nobody_stored = salted(1);
  open(table, nobody_stored);
  Descriptor foreign = salted(2);
  open(table, foreign, 9)->stored = true;
  std::string text = table.explain_miss(*here);
  EXPECT_NE(text.find("page_tokens: 32 here, 64 there"), std::string::npos) << text;
  EXPECT_EQ(text.find("model_digest"), std::string::npos) << text;

  here->stored = true;
  EXPECT_NE(table.explain_miss(*here).find("this space is known"), std::string::npos);
}

TEST(HandleTable, GivesOneHandleForOneSpaceAndQuality) {
  SpaceTable table;
  HandleTable handles;
  auto space = open(table, sample_descriptor());
  uint32_t exact = *handles.add({.space = space, .worst_kl = 0});
  uint32_t lossy = *handles.add({.space = space, .worst_kl = 300});
  EXPECT_NE(exact, lossy);
  EXPECT_EQ(*handles.add({.space = space, .worst_kl = 0}), exact);
  EXPECT_EQ((*handles.find(lossy))->worst_kl, 300u);
  EXPECT_EQ((*handles.find(exact))->space, space);
}

TEST(HandleTable, NamesUnknownHandles) {
  HandleTable handles;
  EXPECT_EQ(handles.find(0).error().code, Errc::unknown_handle);
  EXPECT_EQ(handles.find(1).error().code, Errc::unknown_handle);
  EXPECT_EQ(handles.find(UINT32_MAX).error().code, Errc::unknown_handle);
}

TEST(HandleTable, IsBounded) {
  SpaceTable table;
  HandleTable handles;
  auto space = open(table, sample_descriptor());
  for (uint32_t i = 0; i < kHandlesMax; ++i) {
    ASSERT_TRUE(handles.add({.space = space, .worst_kl = i}).has_value());
  }
  EXPECT_EQ(handles.add({.space = space, .worst_kl = kHandlesMax}).error().code, Errc::too_large);
  EXPECT_TRUE(handles.add({.space = space, .worst_kl = 7}).has_value());
}

TEST(HandleTable, BoundsTheBytesOfItsDescriptors) {
  SpaceTable table;
  HandleTable handles;
  Descriptor large = sample_descriptor();
  large.layers.resize(2000);
  std::iota(large.layers.begin(), large.layers.end(), 0u);
  large.kv_scales.assign(2 * large.layers.size(), 1.0f);
  const size_t fit = kHandleBytesMax / bytes_of(large).size();
  ASSERT_LT(fit, kHandlesMax);
  for (size_t i = 0; i <= fit; ++i) {
    large.user_salt = {static_cast<uint8_t>(i)};
    Result<uint32_t> handle = handles.add({.space = open(table, large), .worst_kl = 0});
    ASSERT_EQ(handle.has_value(), i < fit);
    EXPECT_TRUE(handle.has_value() || handle.error().code == Errc::too_large);
  }
}

}  // namespace
}  // namespace sluice::cache
