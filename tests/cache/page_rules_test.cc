// Which page replaces which, as properties over random pages: nobody who could read a page before a
// put is worse off after it.
#include "src/cache/page_rules.h"

#include <gtest/gtest.h>

#include "tests/cache/sample_page.h"

namespace sluice::cache {
namespace {

constexpr int kTrials = 20'000;

// Few qualities, encodings and ids, so that most pairs agree in some of them.
store::Record random_record(Prng& prng) {
  store::Record record;
  record.encoding_id[0] = static_cast<uint8_t>(prng.below(12));
  Prng of_encoding(record.encoding_id[0] + 1);  // what all pages of one encoding agree in
  record.preference = static_cast<uint32_t>(1 + of_encoding.below(3));
  const uint32_t encoded = record.preference == 3 ? 4 : 1;
  uint32_t kl = record.preference == 3 ? 9 : 0;
  for (uint32_t row = 0; row < encoded; ++row) {
    record.rows.ends[row] = {.sections = row + 1, .end = 100 * (row + 1), .quality_kl = kl};
    kl -= static_cast<uint32_t>(of_encoding.below(std::min(kl, 4u) + 1));
  }
  record.rows.count = encoded;
  record.shorten(static_cast<uint32_t>(1 + prng.below(encoded)));
  return record;
}

TEST(PageRules, APutLeavesNobodyWithLess) {
  Prng prng(1);
  int replaced = 0;
  for (int i = 0; i < kTrials; ++i) {
    const store::Record there = random_record(prng);
    const store::Record page = random_record(prng);
    if (!replaces(page, there)) {
      continue;
    }
    ++replaced;
    for (uint32_t max_kl = 0; max_kl < 10; ++max_kl) {
      EXPECT_TRUE(there.rows.within(max_kl) == 0 || page.rows.within(max_kl) != 0) << max_kl;
    }
    EXPECT_FALSE(page.encoding_id == there.encoding_id && page.rows.count < there.rows.count);
  }
  EXPECT_GT(replaced, kTrials / 10);
}

// So that no order of puts goes round in circles.
TEST(PageRules, ReplacingIsAnOrder) {
  Prng prng(2);
  int chains = 0;
  for (int i = 0; i < kTrials; ++i) {
    const store::Record a = random_record(prng);
    const store::Record b = random_record(prng);
    const store::Record c = random_record(prng);
    EXPECT_FALSE(replaces(a, a));
    EXPECT_FALSE(replaces(a, b) && replaces(b, a));
    if (replaces(a, b) && replaces(b, c)) {
      ++chains;
      EXPECT_TRUE(replaces(a, c));
    }
  }
  EXPECT_GT(chains, kTrials / 50);
}

// A reader without the profile of a page reads raw and direct ones only.
TEST(PageRules, APageThatNeedsNoProfileTakesThePlaceOfOneThatDoesAndNeverYieldsToIt) {
  Prng prng(4);
  int pairs = 0;
  for (int i = 0; i < kTrials; ++i) {
    const store::Record page = random_record(prng), profiled = random_record(prng);
    if (page.preference != 3 && profiled.preference == 3) {
      ++pairs;
      EXPECT_TRUE(replaces(page, profiled));
      EXPECT_FALSE(replaces(profiled, page));
    }
  }
  EXPECT_GT(pairs, kTrials / 20);
}

TEST(PageRules, MoreRowsOfOneEncodingReplaceFewer) {
  Prng prng(3);
  for (int i = 0; i < kTrials; ++i) {
    const store::Record a = random_record(prng);
    const store::Record b = random_record(prng);
    if (a.encoding_id == b.encoding_id) {
      EXPECT_EQ(replaces(a, b), a.rows.count > b.rows.count);
      EXPECT_EQ(has_all_of(a, b), !replaces(b, a));
    } else {
      EXPECT_FALSE(has_all_of(a, b));
    }
  }
}

class PageRulesOfRows : public ::testing::Test {
 protected:
  PageRulesOfRows() {
    Result<std::shared_ptr<Space>> space = spaces_.open(0, bytes_of(sample_descriptor()));
    open_ = {.space = *space, .worst_kl = 0};
  }

  Status check(const Bytes& page) {
    return check_page(*codec::parse_page_header(page), open_, page_key_of(1), page.size());
  }

  SpaceTable spaces_;
  OpenSpace open_;
};

TEST_F(PageRulesOfRows, APageMayEndAfterAnyRowAndNowhereElse) {
  const Bytes page = make_rows_page(open_.space->geometry, page_key_of(1));
  for (size_t rows = 1; rows <= 4; ++rows) {
    Bytes part = first_rows(page, rows);
    EXPECT_TRUE(check(part).has_value()) << rows;
    part.pop_back();
    EXPECT_EQ(check(part).error().code, Errc::truncated) << rows;
    part.resize(part.size() + 2);
    EXPECT_EQ(check(part).error().code, Errc::truncated) << rows;
  }
  const size_t header_bytes = codec::parse_page_header(page)->header_bytes();
  const Bytes header(page.begin(), page.begin() + static_cast<ptrdiff_t>(header_bytes));
  EXPECT_EQ(check(header).error().code, Errc::truncated);
}

TEST_F(PageRulesOfRows, ARecordHasTheRowsThatCameAndTheWorseOfTwoQualities) {
  const Bytes page = make_rows_page(open_.space->geometry, page_key_of(1), {.provenance_kl = 1000});
  const Bytes part = first_rows(page, 3);
  const store::Record record =
      make_record(*codec::parse_page_header(page), part, open_, page_key_of(2));
  ASSERT_EQ(record.rows.count, 3u);
  EXPECT_EQ(record.rows.ends[0].quality_kl, 26000u);
  EXPECT_EQ(record.rows.ends[1].quality_kl, 1500u);
  EXPECT_EQ(record.rows.ends[2].quality_kl, 1000u);
  EXPECT_EQ(record.rows.ends[1].end, first_rows(page, 2).size());
  EXPECT_TRUE(store::verify(record, part).has_value());
}

}  // namespace
}  // namespace sluice::cache
