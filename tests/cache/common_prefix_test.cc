#include "src/cache/common_prefix.h"

#include <gtest/gtest.h>

#include "src/base/prng.h"

namespace sluice::cache {
namespace {

// The rule as it is said: page by page, for every length.
uint32_t brute_force(const std::vector<GroupHits>& groups) {
  uint32_t best = 0;
  for (uint32_t pages = 1; !groups.empty(); ++pages) {
    bool servable = true;
    for (const GroupHits& group : groups) {
      if (group.hit.size() < pages) {
        return best;
      }
      for (uint32_t i = 0; i < pages; ++i) {
        bool needed = group.window_pages == 0 || i + group.window_pages >= pages;
        servable = servable && (!needed || group.hit[i]);
      }
    }
    best = servable ? pages : best;
  }
  return best;
}

TEST(CommonPrefix, OfNothingIsNothing) {
  EXPECT_EQ(common_prefix({}), 0u);
  std::vector<GroupHits> empty = {{.window_pages = 0, .hit = {}}};
  EXPECT_EQ(common_prefix(empty), 0u);
}

TEST(CommonPrefix, FullAttentionNeedsEveryPage) {
  std::vector<GroupHits> groups = {{.window_pages = 0, .hit = {true, true, false, true}}};
  EXPECT_EQ(common_prefix(groups), 2u);
}

TEST(CommonPrefix, AWindowNeedsOnlyTheLastPagesOfTheBoundary) {
  std::vector<GroupHits> groups = {{.window_pages = 0, .hit = {true, true, true, true, true}},
                                   {.window_pages = 2, .hit = {false, false, true, true, false}}};
  EXPECT_EQ(common_prefix(groups), 4u);
}

TEST(CommonPrefix, AStateNeedsTheOneSnapshotAtTheBoundary) {
  std::vector<GroupHits> groups = {{.window_pages = 0, .hit = {true, true, true, true}},
                                   {.window_pages = 1, .hit = {false, true, false, false}}};
  EXPECT_EQ(common_prefix(groups), 2u);
}

TEST(CommonPrefix, TheShortestListOfKeysBounds) {
  std::vector<GroupHits> groups = {{.window_pages = 0, .hit = {true, true, true}},
                                   {.window_pages = 0, .hit = {true, true}}};
  EXPECT_EQ(common_prefix(groups), 2u);
}

TEST(CommonPrefix, LeadingHitsEndAtTheFirstGap) {
  EXPECT_EQ(leading_hits({}), 0u);
  EXPECT_EQ(leading_hits({true, true, false, true}), 2u);
  EXPECT_EQ(leading_hits({true}), 1u);
}

TEST(CommonPrefix, AgreesWithBruteForce) {
  Prng prng(5);
  for (int round = 0; round < 50000; ++round) {
    std::vector<GroupHits> groups(1 + prng.below(4));
    uint64_t holes = prng.below(6);
    for (GroupHits& group : groups) {
      group.window_pages = static_cast<uint32_t>(prng.below(5));
      group.hit.resize(prng.below(12));
      for (size_t i = 0; i < group.hit.size(); ++i) {
        group.hit[i] = prng.below(10) >= holes;
      }
    }
    ASSERT_EQ(common_prefix(groups), brute_force(groups)) << "round " << round;
  }
}

}  // namespace
}  // namespace sluice::cache
