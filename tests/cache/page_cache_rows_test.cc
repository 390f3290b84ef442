// PageCache and pages of several rows: every reader gets the rows that its quality needs and no
// more, out of RAM, from disk and across both; what is missing is added, what is dropped is gone.
#include <gtest/gtest.h>

#include "src/base/limits.h"
#include "tests/cache/cache_on_disk.h"

namespace sluice::cache {
namespace {

constexpr uint32_t kKl[] = {26000, 1500, 100, 0};  // of the sample's rows

class PageCacheRowsTest : public CacheOnDisk {
 protected:
  // Sections of one layer.
  OpenSpace rows_space() { return open(sample_descriptor(512)); }

  Bytes sample(RowsOptions options = {}) {
    return make_rows_page(geometry(sample_descriptor(512)), key_, options);
  }

  Result<PutOutcome> put_page(const Bytes& page, Durability durability = Durability::ram) {
    return calls().put(rows_space(), key_, page, {}, durability);
  }

  PageQuery query(uint32_t max_kl) const { return {.key = key_, .max_kl = max_kl}; }

  // The bytes of an answer, or nothing.
  Bytes served(const PageQuery& query) {
    Result<PageAnswer> answer = calls().get(rows_space(), query);
    return answer.has_value() ? joined(*answer) : Bytes();
  }

  Errc refused(const PageQuery& query) {
    Result<PageAnswer> answer = calls().get(rows_space(), query);
    return answer.has_error() ? answer.error().code : Errc::ok;
  }

  PageStatus status(uint32_t max_kl) {
    const OpenSpace space = rows_space();
    GroupQuery group{.open = &space, .window_pages = 0, .keys = {&key_, 1}};
    const LookupAnswer answer = *cache_->lookup({&group, 1}, max_kl);
    return answer.common_pages == 0 ? PageStatus() : answer.groups[0].pages[0];
  }

  Status drop(uint32_t rows, codec::EncodingId encoding_id) {
    std::optional<Status> answer;
    cache_->drop_rows(rows_space(), key_, encoding_id, rows, [&](Status status) {
      answer.emplace(std::move(status));
    });
    runner_.finish();
    EXPECT_TRUE(answer.has_value());
    return *std::move(answer);
  }

  Errc drop_code(uint32_t rows, codec::EncodingId encoding_id) {
    Status status = drop(rows, encoding_id);
    return status.has_error() ? status.error().code : Errc::ok;
  }

  void expect_each_level(const Bytes& page) {
    for (uint32_t row = 0; row < 4; ++row) {
      const Bytes expected = first_rows(page, row + 1);
      const PageStatus there = status(kKl[row]);
      EXPECT_EQ(there.rows, row + 1);
      EXPECT_EQ(there.kl, kKl[row]);
      EXPECT_EQ(there.stored_bytes, expected.size());
      EXPECT_EQ(served(query(kKl[row])), expected) << "row " << row;
    }
  }

  const Key key_ = page_key_of(1);
};

// Whoever reads it could not.
TEST_F(PageCacheRowsTest, APageWhoseProfileIsNotThereIsRefused) {
  cache_ = *PageCache::open({.ram = {.capacity_bytes = ram_bytes_}});
  const Result<PutOutcome> refused = put_page(sample());
  ASSERT_TRUE(refused.has_error());
  EXPECT_EQ(refused.error().code, Errc::not_found);
  EXPECT_NE(refused.error().text.find(to_hex(sha256(kRowsProfile))), std::string::npos);
  EXPECT_EQ(cache_->stats().ram.records, 0u);
  ASSERT_TRUE(cache_->profiles().add(sha256(kRowsProfile), kRowsProfile).has_value());
  EXPECT_EQ(*put_page(sample()), PutOutcome::stored);
}

TEST_F(PageCacheRowsTest, EachReaderGetsTheRowsThatItNeedsOutOfRam) {
  const Bytes page = sample();
  ASSERT_EQ(*put_page(page), PutOutcome::stored);
  expect_each_level(page);
  EXPECT_EQ(cache_->stats().disk_gets.hits, 0u);
}

TEST_F(PageCacheRowsTest, EachReaderGetsTheRowsThatItNeedsFromDisk) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  for (uint32_t row = 0; row < 4; ++row) {
    restart();
    EXPECT_EQ(status(kKl[row]).rows, row + 1);
    const uint64_t before = device_.stats().read_bytes;
    EXPECT_EQ(served(query(kKl[row])), first_rows(page, row + 1));
    EXPECT_LE(device_.stats().read_bytes - before, first_rows(page, row + 1).size() + 8192);
    EXPECT_EQ(served(query(kKl[row])), first_rows(page, row + 1)) << "RAM has it now";
    EXPECT_EQ(cache_->stats().disk->hits, 1u);
  }
}

TEST_F(PageCacheRowsTest, RowsThatRamLacksComeFromDiskAndStay) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  restart();
  expect_each_level(page);
  EXPECT_EQ(cache_->stats().promoted, 4u);
  EXPECT_EQ(cache_->stats().ram.records, 1u);
  EXPECT_EQ(served(query(0)), page);
  EXPECT_EQ(served(query(26000)), first_rows(page, 1));
  EXPECT_EQ(cache_->stats().disk->hits, 4u);
}

TEST_F(PageCacheRowsTest, AnExactReaderMissesAPageWithoutItsExactRow) {
  ASSERT_TRUE(put_page(first_rows(sample(), 3)).has_value());
  EXPECT_EQ(status(99).rows, 0u);
  EXPECT_EQ(refused(query(99)), Errc::not_found);
  EXPECT_EQ(status(100).rows, 3u);
}

TEST_F(PageCacheRowsTest, ProvenanceIsTheFloorOfEveryRow) {
  const OpenSpace worse = *cache_->open_space(0, bytes_of(sample_descriptor(512)), 1000);
  const Bytes page = sample({.provenance_kl = 1000});
  ASSERT_TRUE(calls().put(worse, key_, page).has_value());
  EXPECT_EQ(status(999).rows, 0u);
  EXPECT_EQ(status(1000).rows, 3u) << "the exact row makes it no better";
  EXPECT_EQ(status(1000).kl, 1000u);
}

TEST_F(PageCacheRowsTest, AReaderThatHoldsTheBaseGetsTheRestAlone) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  for (int restarts = 0; restarts < 2; ++restarts) {
    PageQuery more = query(0);
    more.encoding_id = encoding_id_of_page(page);
    more.first_row = 1;
    Result<PageAnswer> answer = calls().get(rows_space(), more);
    ASSERT_TRUE(answer.has_value()) << answer.error().to_string();
    EXPECT_EQ(answer->rows, 3u);
    EXPECT_EQ(answer->kl, 0u);
    EXPECT_EQ(joined(*answer), later_rows(page, 1, 3));
    more.max_kl = 1500;
    EXPECT_EQ(served(more), later_rows(page, 1, 1));
    more.first_row = 2;
    answer = calls().get(rows_space(), more);
    EXPECT_EQ(answer->rows, 0u);
    EXPECT_TRUE(answer->sections.empty());
    restart();
  }
}

// It asks for no better quality than it has; RAM has only the first row.
TEST_F(PageCacheRowsTest, AReaderThatHasMoreRowsThanRamIsAnsweredFromDisk) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  restart();
  EXPECT_EQ(served(query(26000)), first_rows(page, 1));
  PageQuery more = query(26000);
  more.encoding_id = encoding_id_of_page(page);
  more.first_row = 3;
  EXPECT_EQ(served(more).size(), codec::parse_page_header(page)->header_bytes());
  ASSERT_EQ(drop_code(2, more.encoding_id), Errc::ok);
  EXPECT_EQ(refused(more), Errc::not_found) << "nobody has its rows any more";
}

TEST_F(PageCacheRowsTest, RowsOfAnotherEncodingAreNotFoundAndOfAnyRefused) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page).has_value());
  PageQuery more = query(0);
  more.first_row = 1;
  EXPECT_EQ(refused(more), Errc::invalid_argument);
  more.encoding_id = encoding_id_of_page(sample({.seed = 2}));
  EXPECT_EQ(refused(more), Errc::not_found);
}

TEST_F(PageCacheRowsTest, ToolsGetAllThatIsStored) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  restart();
  EXPECT_EQ(served(query(26000)), first_rows(page, 1));
  PageQuery all = query(kKlUnknown);
  all.least_rows = 255;
  EXPECT_EQ(served(all), page) << "RAM has one row only";
}

TEST_F(PageCacheRowsTest, LayersComeAloneFromRamAndFromDisk) {
  const Bytes page = sample();
  const codec::PageHeader header = *codec::parse_page_header(page);
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  PageQuery some = query(1500);
  some.first_layer = 1;
  some.layers = 2;
  Bytes expected(page.begin(), page.begin() + static_cast<ptrdiff_t>(header.header_bytes()));
  for (size_t row = 0; row < 2; ++row) {
    const auto range = *codec::select_sections(header, row, 1, 2);
    const ByteSpan part = ByteSpan(page).subspan(range.offset, range.bytes);
    expected.insert(expected.end(), part.begin(), part.end());
  }
  EXPECT_EQ(served(some), expected);
  restart();
  EXPECT_EQ(served(some), expected);
  EXPECT_EQ(cache_->stats().promoted, 0u) << "part of a row is of no use in RAM";
}

TEST_F(PageCacheRowsTest, ReadersOfUnequalPartsDoNotShareARead) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  restart();
  const OpenSpace space = rows_space();
  std::vector<Bytes> got;
  for (uint32_t kl : {26000u, 0u, 26000u, 0u, 0u}) {
    cache_->get(space, query(kl), [&](const Result<PageAnswer>& answer) {
      got.push_back(joined(*answer));
    });
  }
  runner_.finish();
  EXPECT_EQ(std::count(got.begin(), got.end(), first_rows(page, 1)), 2);
  EXPECT_EQ(std::count(got.begin(), got.end(), page), 3);
  EXPECT_EQ(served(query(0)), page) << "fewer rows never take the place of more";
}

TEST_F(PageCacheRowsTest, APutOfTheSameEncodingAddsTheMissingRows) {
  const Bytes page = sample();
  EXPECT_EQ(*put_page(first_rows(page, 1), Durability::disk), PutOutcome::stored);
  EXPECT_EQ(*put_page(first_rows(page, 3), Durability::disk), PutOutcome::replaced);
  EXPECT_EQ(*put_page(first_rows(page, 2), Durability::disk), PutOutcome::unchanged);
  EXPECT_EQ(*put_page(page, Durability::disk), PutOutcome::replaced);
  EXPECT_EQ(*put_page(page, Durability::disk), PutOutcome::unchanged);
  lose_power();
  expect_each_level(page);
}

TEST_F(PageCacheRowsTest, RowsThatChangeNoQualityAreAddedToo) {
  const OpenSpace worse = *cache_->open_space(0, bytes_of(sample_descriptor(512)), 30000);
  const Bytes page = sample({.provenance_kl = 30000});
  ASSERT_TRUE(calls().put(worse, key_, first_rows(page, 2)).has_value());
  EXPECT_EQ(*calls().put(worse, key_, page), PutOutcome::replaced);
  EXPECT_EQ(*calls().put(worse, key_, first_rows(page, 2)), PutOutcome::unchanged);
}

TEST_F(PageCacheRowsTest, APutThatTheDiskHasWholeFillsRamUp) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  restart();
  EXPECT_EQ(served(query(26000)), first_rows(page, 1));
  const uint64_t written = cache_->stats().disk->written;
  EXPECT_EQ(*put_page(page, Durability::disk), PutOutcome::unchanged);
  EXPECT_EQ(cache_->stats().disk->written, written);
  EXPECT_EQ(served(query(0)), page);
  EXPECT_EQ(cache_->stats().disk->hits, 1u) << "out of RAM";
}

// Another encoding would take the place of RAM's first rows, but not of what the disk has.
TEST_F(PageCacheRowsTest, WhatIsOnDiskCountsWhereRamHasFewerRows) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  restart();
  EXPECT_EQ(served(query(26000)), first_rows(page, 1));
  EXPECT_EQ(*put_page(sample({.seed = 2}), Durability::disk), PutOutcome::unchanged);
  EXPECT_EQ(served(query(26000)), first_rows(page, 1));
  EXPECT_EQ(served(query(0)), page);
}

TEST_F(PageCacheRowsTest, DroppedRowsAreGoneInBothTiersAlsoAfterARestart) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  const uint64_t ram_bytes = cache_->stats().ram.bytes;
  ASSERT_EQ(drop_code(2, encoding_id_of_page(page)), Errc::ok);
  EXPECT_LT(cache_->stats().ram.bytes, ram_bytes);
  for (int restarts = 0; restarts < 2; ++restarts) {
    EXPECT_EQ(status(1499).rows, 0u);
    EXPECT_EQ(status(1500).rows, 2u);
    EXPECT_EQ(served(query(1500)), first_rows(page, 2));
    EXPECT_EQ(served(query(26000)), first_rows(page, 1));
    lose_power();
  }
  EXPECT_EQ(*put_page(page, Durability::disk), PutOutcome::replaced) << "a put brings them back";
  lose_power();
  expect_each_level(page);
}

TEST_F(PageCacheRowsTest, RowsAreDroppedWhereverTheyAre) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  restart();
  ASSERT_EQ(drop_code(3, encoding_id_of_page(page)), Errc::ok) << "on disk only";
  EXPECT_EQ(served(query(26000)), first_rows(page, 1));
  ASSERT_EQ(drop_code(2, encoding_id_of_page(page)), Errc::ok) << "RAM has fewer already";
  EXPECT_EQ(status(100).rows, 0u);
  EXPECT_EQ(served(query(1500)), first_rows(page, 2));
}

TEST_F(PageCacheRowsTest, ADropThatTakesNothingOrAllIsRefused) {
  const Bytes page = sample();
  const codec::EncodingId id = encoding_id_of_page(page);
  EXPECT_EQ(drop_code(1, id), Errc::not_found);
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  EXPECT_EQ(drop_code(0, id), Errc::invalid_argument);
  EXPECT_EQ(drop_code(4, id), Errc::invalid_argument);
  EXPECT_EQ(drop_code(1, codec::EncodingId{}), Errc::not_found);
}

TEST_F(PageCacheRowsTest, APageThatIsReadOrOnItsWayToDiskIsNotCut) {
  const Bytes page = sample();
  const codec::EncodingId id = encoding_id_of_page(page);
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  {
    Result<PageAnswer> reader = calls().get(rows_space(), query(26000));
    EXPECT_EQ(drop_code(1, id), Errc::overloaded);
  }
  lanes_.hold(store::Lane::write);
  ASSERT_TRUE(put_page(sample({.seed = 2})).has_value()) << "as good: the first stays";
  const Bytes other = sample({.rows = {{codec::Level::q3, 50}, {codec::Level::exact, 0}}});
  cache_->erase(rows_space(), {&key_, 1}, [](const Result<uint32_t>&) {});
  ASSERT_TRUE(put_page(other).has_value());
  EXPECT_EQ(drop_code(1, encoding_id_of_page(other)), Errc::overloaded);
  lanes_.release(store::Lane::write);
  runner_.finish();
  EXPECT_EQ(drop_code(1, encoding_id_of_page(other)), Errc::ok);
}

TEST_F(PageCacheRowsTest, ADiskThatFailsSaysThatTheRowsMayComeBack) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  device_.faults.write_error = 1000;
  EXPECT_EQ(drop_code(1, encoding_id_of_page(page)), Errc::io_error);
}

TEST_F(PageCacheRowsTest, DamageInARowHurtsOnlyWhoAsksForIt) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  {
    Result<PageAnswer> answer = calls().get(rows_space(), query(0));
    const_cast<uint8_t*>(answer->sections.back().data())[answer->sections.back().size() - 1] ^= 1;
  }
  EXPECT_EQ(served(query(100)), first_rows(page, 3));
  EXPECT_EQ(cache_->stats().ram.damaged, 0u);
  EXPECT_EQ(served(query(0)), page) << "the disk has it whole";
  EXPECT_EQ(cache_->stats().ram.damaged, 1u);
}

// The better page never came to disk; what the disk has is of other rows.
TEST_F(PageCacheRowsTest, DamageInRamLeavesTheOlderPageOfTheDisk) {
  const Bytes older = sample({.rows = {{codec::Level::q3, 26000}, {codec::Level::q2, 1500}}});
  ASSERT_TRUE(put_page(older, Durability::disk).has_value());
  lanes_.hold(store::Lane::prepare);
  ASSERT_EQ(*put_page(sample()), PutOutcome::replaced);
  PageQuery all = query(kKlUnknown);
  all.least_rows = 255;
  {
    Result<PageAnswer> answer = calls().get(rows_space(), all);
    const_cast<uint8_t*>(answer->sections.back().data())[answer->sections.back().size() - 1] ^= 1;
  }
  EXPECT_EQ(served(all), older);
  EXPECT_EQ(cache_->stats().ram.damaged, 1u);
  lanes_.release(store::Lane::prepare);
  runner_.finish();
}

TEST_F(PageCacheRowsTest, ADamagedPageWhoseBaseIsInRamIsTakenOutWithItsReport) {
  const Bytes page = sample();
  ASSERT_TRUE(put_page(page, Durability::disk).has_value());
  restart();
  EXPECT_EQ(served(query(26000)), first_rows(page, 1));
  Bytes& file = device_.files().begin()->second->now;
  auto last = std::search(file.begin(), file.end(), page.end() - 32, page.end());
  ASSERT_NE(last, file.end());
  *last ^= 1;
  EXPECT_TRUE(calls().damaged(rows_space(), key_, encoding_id_of_page(page)));
  EXPECT_EQ(status(0).rows, 0u);
  EXPECT_EQ(status(26000).rows, 1u) << "RAM's row is whole";
}

TEST_F(PageCacheRowsTest, AMissSaysHowGoodThePageIs) {
  ASSERT_TRUE(put_page(first_rows(sample(), 2), Durability::disk).has_value());
  restart();
  EXPECT_EQ(served(query(26000)).size(), first_rows(sample(), 1).size());
  const OpenSpace space = rows_space();
  GroupQuery group{.open = &space, .window_pages = 0, .keys = {&key_, 1}};
  EXPECT_NE(cache_->lookup({&group, 1}, 9)->miss_reason.find("quality 1500 micro-nats"),
            std::string::npos);
}

}  // namespace
}  // namespace sluice::cache
