#include "src/cache/page_part.h"

#include <gtest/gtest.h>

#include "src/base/limits.h"
#include "tests/cache/sample_page.h"

namespace sluice::cache {
namespace {

// Of 512 tokens: four groups of one layer, two planes, so 8 sections a row.
const PageGeometry& geometry_of_groups() {
  static const PageGeometry shape = geometry(sample_descriptor(512));
  return shape;
}

store::RowEnds four_rows() {
  store::RowEnds rows{.count = 4};
  const uint32_t kl[] = {26000, 1500, 100, 0};
  for (uint32_t row = 0; row < 4; ++row) {
    rows.ends[row] = {.sections = 8 * (row + 1), .end = 1000 * (row + 1), .quality_kl = kl[row]};
  }
  return rows;
}

PageQuery asked(uint32_t max_kl) {
  return {.encoding_id = {1}, .max_kl = max_kl};
}

Result<store::RecordPart> part_of(const PageQuery& query) {
  return wanted_part(query, four_rows(), geometry_of_groups());
}

TEST(PagePart, AReaderGetsTheFewestRowsThatAreGoodEnough) {
  EXPECT_EQ(wanted_rows(asked(kKlUnknown), four_rows()), 1u);
  EXPECT_EQ(wanted_rows(asked(26000), four_rows()), 1u);
  EXPECT_EQ(wanted_rows(asked(25999), four_rows()), 2u);
  EXPECT_EQ(wanted_rows(asked(100), four_rows()), 3u);
  EXPECT_EQ(wanted_rows(asked(0), four_rows()), 4u);
  store::RowEnds lossy = four_rows();
  lossy.shorten(3);
  EXPECT_EQ(wanted_rows(asked(0), lossy), 0u);
  EXPECT_EQ(*part_of(asked(1500)), (store::RecordPart{.rows = 2, .runs = {{0, 16}}}));
}

TEST(PagePart, LeastRowsAskForMoreThanQualityNeeds) {
  PageQuery query = asked(kKlUnknown);
  query.least_rows = 3;
  EXPECT_EQ(wanted_rows(query, four_rows()), 3u);
  query.least_rows = 255;
  EXPECT_EQ(wanted_rows(query, four_rows()), 4u);
  store::RowEnds lossy = four_rows();
  lossy.shorten(3);
  query.max_kl = 0;
  EXPECT_EQ(wanted_rows(query, lossy), 0u) << "what is not good enough stays so";
}

TEST(PagePart, RowsThatAreThereAreNotSentAgain) {
  PageQuery query = asked(0);
  query.first_row = 1;
  EXPECT_EQ(*part_of(query), (store::RecordPart{.rows = 4, .runs = {{8, 24}}}));
  query.max_kl = 1500;
  EXPECT_EQ(*part_of(query), (store::RecordPart{.rows = 2, .runs = {{8, 8}}}));
  query.first_row = 3;
  EXPECT_EQ(*part_of(query), (store::RecordPart{.rows = 3, .runs = {}})) << "better than needed";
}

TEST(PagePart, APageAnswersWhoItIsGoodEnoughForAndHasNoMoreRows) {
  const store::RowEnds rows = four_rows();
  PageQuery query = asked(100);
  EXPECT_TRUE(answers(query, rows, {1}));
  EXPECT_FALSE(answers(query, rows, {2}));
  query.encoding_id = {};
  EXPECT_TRUE(answers(query, rows, {2}));
  store::RowEnds fewer = rows;
  fewer.shorten(2);
  EXPECT_FALSE(answers(query, fewer, {1}));
  query = asked(kKlUnknown);
  query.first_row = 3;
  EXPECT_TRUE(answers(query, rows, {1}));
  EXPECT_FALSE(answers(query, fewer, {1}));
}

TEST(PagePart, LayersAreRoundedOutToSectionsOneRunARow) {
  PageQuery query = asked(1500);
  query.first_layer = 1;
  query.layers = 2;
  EXPECT_EQ(*part_of(query), (store::RecordPart{.rows = 2, .runs = {{2, 4}, {10, 4}}}));
  const PageGeometry one_group = geometry(sample_descriptor());
  EXPECT_EQ(*wanted_part(query, four_rows(), one_group),
            (store::RecordPart{.rows = 2, .runs = {{0, 4}}}));
}

TEST(PagePart, WhatThePageDoesNotHaveIsRefused) {
  PageQuery query = asked(0);
  query.first_layer = 3;
  query.layers = 2;
  EXPECT_EQ(part_of(query).error().code, Errc::invalid_argument);
  query.layers = 0;
  EXPECT_EQ(part_of(query).error().code, Errc::invalid_argument);
}

TEST(PagePart, LaterRowsOfAnyEncodingAreRefused) {
  PageQuery query = asked(0);
  query.first_row = 1;
  query.encoding_id = {};
  EXPECT_EQ(part_of(query).error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace sluice::cache
