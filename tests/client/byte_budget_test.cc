// What a budget of bytes gets, of pages that a table says how long they are.
#include "src/client/byte_budget.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::client {
namespace {

struct Level {
  uint32_t kl;
  std::vector<uint64_t> page_bytes;
};

// A daemon's answers: of levels, the coarsest first, the first within max_kl.
class Pages {
 public:
  explicit Pages(std::vector<Level> levels) : levels_(std::move(levels)) {}

  Result<Fit> fit(uint32_t n_pages, uint32_t max_kl, uint64_t budget_bytes) {
    return fit_bytes(n_pages, max_kl, budget_bytes, [&](uint32_t pages, uint32_t kl) {
      ++lookups;
      return look_up(pages, kl);
    });
  }

  int lookups = 0;

 private:
  Result<Served> look_up(uint32_t pages, uint32_t max_kl) {
    for (const Level& level : levels_) {
      if (level.kl <= max_kl) {
        Served out{.worst_kl = level.kl};
        for (; out.pages < pages && out.pages < level.page_bytes.size(); ++out.pages) {
          out.stored_bytes += level.page_bytes[out.pages];
        }
        return out;
      }
    }
    return Served{};
  }

  std::vector<Level> levels_;
};

std::vector<Level> three_levels() {
  return {{3000, {30, 10, 10, 10}}, {300, {60, 20, 20, 20}}, {0, {90, 50, 50, 50}}};
}

TEST(ByteBudget, GetsTheFinestLevelAtWhichAllPagesFit) {
  Pages pages(three_levels());
  for (const auto& [budget, kl, bytes] :
       {std::tuple{60u, 5000u, 60u}, {119u, 5000u, 60u}, {120u, 2999u, 120u}, {240u, 299u, 240u}}) {
    const Fit fit = *pages.fit(4, 5000, budget);
    EXPECT_EQ(fit.pages, 4u) << budget;
    EXPECT_EQ(fit.max_kl, kl) << budget;
    EXPECT_EQ(fit.stored_bytes, bytes) << budget;
  }
}

TEST(ByteBudget, GetsAFrontWhereTheCoarsestDoesNotFit) {
  Pages pages(three_levels());
  for (const auto& [budget, n_pages] : {std::pair{59u, 3u}, {50u, 3u}, {49u, 2u}, {30u, 1u}}) {
    const Fit fit = *pages.fit(4, 5000, budget);
    EXPECT_EQ(fit.pages, n_pages) << budget;
    EXPECT_EQ(fit.max_kl, 5000u);
    EXPECT_LE(fit.stored_bytes, budget);
  }
  EXPECT_EQ(pages.fit(4, 5000, 29)->pages, 0u);
}

TEST(ByteBudget, AsksForNoMoreThanThereIsAndIsAllowed) {
  Pages pages(three_levels());
  EXPECT_EQ(pages.fit(9, 0, 1000)->pages, 4u);
  EXPECT_EQ(pages.fit(9, 0, 1000)->stored_bytes, 240u);
  EXPECT_EQ(pages.fit(9, 0, 239)->pages, 3u);
  EXPECT_EQ(Pages({}).fit(4, 5000, 1000)->pages, 0u);
  pages.lookups = 0;
  EXPECT_EQ(pages.fit(0, 5000, 1000)->pages, 0u);
  EXPECT_EQ(pages.lookups, 0);
}

TEST(ByteBudget, FewLookupsFindOneOfManyPages) {
  Pages pages({{10, std::vector<uint64_t>(10'000, 7)}});
  EXPECT_EQ(pages.fit(10'000, 10, 7 * 4321)->pages, 4321u);
  EXPECT_LE(pages.lookups, 16);
}

TEST(ByteBudget, ReportsWhatTheLookupFails) {
  const auto fails = [](uint32_t, uint32_t) -> Result<Served> {
    return SLUICE_ERR(Errc::timed_out, "no answer");
  };
  EXPECT_EQ(fit_bytes(1, 0, 1, fails).error().code, Errc::timed_out);
}

}  // namespace
}  // namespace sluice::client
