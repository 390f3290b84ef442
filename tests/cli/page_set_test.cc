// Which pages of a model with a window a budget of bytes gets.
#include "src/cli/page_set.h"

#include <gtest/gtest.h>

#include "tests/client/llama_sample.h"
#include "tests/support/test_daemon.h"

namespace sluice::cli {
namespace {

constexpr uint32_t kPages = 4;

class WindowedSet : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_.start();
    Sequence& sequence = set_.sequence;
    sequence.client = *client::Client::open({.address = socket_});
    sequence.tokens = testing::tokens(kPages * testing::kPage);
    const ModelManifest manifest = testing::manifest(2 * testing::kPage);
    sequence.cache = *client::LlamaCache::open(*sequence.client, manifest, Hash32{}, {});
    client::LlamaCache& cache = *sequence.cache;
    const Bytes blob =
        testing::random_blob(cache.layout(), static_cast<uint32_t>(sequence.tokens.size()), 1);
    ASSERT_TRUE(cache.store(sequence.tokens, blob, transport::Ack::ram, stored_).has_value());
    for (size_t g = 0; g < cache.groups(); ++g) {
      PageGroup group;
      group.space = &cache.space(g);
      group.keys = group.space->keys(sequence.tokens);
      set_.groups.push_back(std::move(group));
    }
  }

  testing::TempFolder folder_;
  std::string socket_ = folder_.file("s.sock");
  testing::TestDaemon daemon_{socket_};
  PageSet set_;
  client::Transfer stored_;
};

TEST_F(WindowedSet, OfAWindowABudgetGetsTheLastPagesOnly) {
  ASSERT_TRUE(choose_rows(set_, {.bytes = stored_.stored_bytes}).has_value());
  EXPECT_EQ(set_.groups[0].first, 0u);
  EXPECT_EQ(set_.groups[1].first, 2u);
  EXPECT_EQ(set_.pages(), kPages + 2);
  uint64_t bytes = 0;
  const auto visit = [&](const FetchedPage& page) -> Status {
    EXPECT_TRUE(page.bytes.has_value());
    bytes += page.bytes.has_value() ? page.bytes->size() : 0;
    return {};
  };
  ASSERT_TRUE(fetch_pages(set_, "get", {.quiet = true}, visit).has_value());
  EXPECT_EQ(bytes, stored_.stored_bytes);
}

TEST_F(WindowedSet, WhereThePrefixDoesNotFitNothingIsLeftToGet) {
  // A shorter one needs pages of the window that were not stored.
  ASSERT_TRUE(choose_rows(set_, {.bytes = stored_.stored_bytes - 1}).has_value());
  EXPECT_EQ(set_.pages(), 0u);
}

}  // namespace
}  // namespace sluice::cli
