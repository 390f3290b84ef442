#include "store/extent_map.h"

#include <gtest/gtest.h>

#include <vector>

#include "src/base/prng.h"

namespace sluice::store {
namespace {

TEST(ExtentMap, TakesAllOfItAndNoMore) {
  ExtentMap map(100);
  EXPECT_EQ(map.take(60), 0u);
  EXPECT_EQ(map.take(40), 60u);
  EXPECT_FALSE(map.take(1).has_value());
  EXPECT_EQ(map.free_bytes(), 0u);
}

TEST(ExtentMap, TakesTheSmallestRunThatFitsTheLowestOfEquals) {
  ExtentMap map(100);
  ASSERT_EQ(map.take(100), 0u);
  map.give(0, 30);
  map.give(40, 10);
  map.give(60, 10);
  EXPECT_EQ(map.take(10), 40u);
  EXPECT_EQ(map.take(10), 60u);
  EXPECT_EQ(map.take(10), 0u);
}

TEST(ExtentMap, JoinsNeighboursOnBothSides) {
  ExtentMap map(90);
  ASSERT_EQ(map.take(90), 0u);
  map.give(0, 30);
  map.give(60, 30);
  EXPECT_FALSE(map.take(31).has_value());
  map.give(30, 30);
  EXPECT_EQ(map.take(90), 0u);
}

TEST(ExtentMapDeathTest, GivingBackFreeBytesStopsTheProcess) {
  ExtentMap map(100);
  ASSERT_EQ(map.take(50), 0u);
  EXPECT_DEATH(map.give(40, 20), "broken invariant");
}

TEST(ExtentMap, AgreesWithAByteMapOnRandomSteps) {
  constexpr size_t kBytes = 512;
  Prng prng(7);
  ExtentMap map(kBytes);
  std::vector<bool> taken(kBytes, false);
  std::vector<std::pair<uint64_t, uint64_t>> extents;
  for (int step = 0; step < 20000; ++step) {
    if (prng.below(2) == 0) {
      uint64_t bytes = 1 + prng.below(60);
      auto offset = map.take(bytes);
      // The best fit, found by looking at every run.
      uint64_t best = UINT64_MAX;
      uint64_t best_at = 0;
      for (uint64_t at = 0; at < kBytes;) {
        uint64_t end = at;
        while (end < kBytes && !taken[end]) {
          ++end;
        }
        if (end - at >= bytes && end - at < best) {
          best = end - at;
          best_at = at;
        }
        at = end + 1;
      }
      ASSERT_EQ(offset.has_value(), best != UINT64_MAX);
      if (offset) {
        ASSERT_EQ(*offset, best_at);
        std::fill_n(taken.begin() + static_cast<ptrdiff_t>(*offset), bytes, true);
        extents.emplace_back(*offset, bytes);
      }
    } else if (!extents.empty()) {
      std::swap(extents[prng.below(extents.size())], extents.back());
      auto [offset, bytes] = extents.back();
      extents.pop_back();
      map.give(offset, bytes);
      std::fill_n(taken.begin() + static_cast<ptrdiff_t>(offset), bytes, false);
    }
    ASSERT_EQ(map.free_bytes(),
              static_cast<uint64_t>(std::count(taken.begin(), taken.end(), false)));
  }
}

}  // namespace
}  // namespace sluice::store
