// llama.cpp states through a real daemon in a thread: blobs in, the same tensors out.
#include "src/client/llama_cache.h"

#include <gtest/gtest.h>

#include "tests/client/llama_sample.h"
#include "tests/support/test_daemon.h"

namespace sluice::client {
namespace {

using testing::kPage;
using testing::manifest;
using testing::random_blob;
using testing::tokens;

class LlamaCacheTest : public ::testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    daemon_.start();
    client_ = *Client::open({.address = socket_});
  }

  std::unique_ptr<LlamaCache> open(bool flash_attention) {
    LlamaCacheOptions options;
    options.llama.flash_attention = flash_attention;
    Hash32 digest{};
    digest[1] = 9;
    auto cache = LlamaCache::open(*client_, manifest(GetParam()), digest, options);
    EXPECT_TRUE(cache.has_value()) << cache.error().to_string();
    return *std::move(cache);
  }

  LlamaLayout layout(bool flash_attention) {
    LlamaOptions options;
    options.flash_attention = flash_attention;
    return *make_llama_layout(manifest(GetParam()), options);
  }

  testing::TempFolder folder_;
  std::string socket_ = folder_.file("s.sock");
  testing::TestDaemon daemon_{socket_};
  std::unique_ptr<Client> client_;
};

INSTANTIATE_TEST_SUITE_P(Windows, LlamaCacheTest, ::testing::Values(0u, 128u));

TEST_P(LlamaCacheTest, LoadRestoresThePagesOfTheStoredBlob) {
  const uint32_t n_tokens = 4 * kPage;
  auto cache = open(true);
  const Bytes blob = random_blob(layout(true), n_tokens, 1);
  Transfer stored;
  Result<uint32_t> served = cache->store(tokens(n_tokens), blob, transport::Ack::ram, stored);
  ASSERT_TRUE(served.has_value()) << served.error().to_string();
  EXPECT_EQ(*served, n_tokens);
  EXPECT_EQ(*cache->lookup(tokens(n_tokens + 9), 0), n_tokens);
  Bytes out(cache->blob_bytes(n_tokens));
  Transfer loaded;
  EXPECT_EQ(*cache->load(tokens(n_tokens + 9), 0, out, loaded), n_tokens);
  EXPECT_EQ(out, blob);
  EXPECT_GT(loaded.pages, 0u);
}

TEST_P(LlamaCacheTest, ABudgetOfBytesGetsWhatFitsOfAllGroups) {
  const uint32_t n_tokens = 4 * kPage;
  auto cache = open(true);
  Transfer stored;
  ASSERT_TRUE(
      cache
          ->store(
              tokens(n_tokens), random_blob(layout(true), n_tokens, 1), transport::Ack::ram, stored)
          .has_value());
  const Fit all = *cache->fit(tokens(n_tokens), 0, stored.stored_bytes);
  EXPECT_EQ(all.pages, 4u);
  Bytes out(cache->blob_bytes(n_tokens));
  Transfer loaded;
  ASSERT_EQ(*cache->load(tokens(n_tokens), all.max_kl, out, loaded), n_tokens);
  EXPECT_EQ(loaded.stored_bytes, all.stored_bytes);
  const Fit fewer = *cache->fit(tokens(n_tokens), 0, all.stored_bytes - 1);
  EXPECT_EQ(fewer.pages, GetParam() == 0 ? 3u : 0u);  // a window's pages are there for four alone
  EXPECT_LT(fewer.stored_bytes, all.stored_bytes);
  EXPECT_EQ(cache->fit(tokens(kPage - 1), 0, all.stored_bytes)->pages, 0u);
}

TEST_P(LlamaCacheTest, FlashAttentionOnAndOffShareTheirPages) {
  const uint32_t n_tokens = 3 * kPage;
  const Bytes on = random_blob(layout(true), n_tokens, 2);
  Transfer moved;
  ASSERT_TRUE(open(true)->store(tokens(n_tokens), on, transport::Ack::ram, moved).has_value());
  auto cache = open(false);
  Bytes off(cache->blob_bytes(n_tokens));
  ASSERT_EQ(*cache->load(tokens(n_tokens), 0, off, moved), n_tokens);
  EXPECT_NE(off, on);
  Transfer again;
  ASSERT_TRUE(open(false)->store(tokens(n_tokens), off, transport::Ack::ram, again).has_value());
  EXPECT_EQ(again.pages, 0u);
  Bytes back(on.size());
  ASSERT_EQ(*open(true)->load(tokens(n_tokens), 0, back, moved), n_tokens);
  EXPECT_EQ(back, on);
}

TEST_P(LlamaCacheTest, DivergingTokensShareTheirCommonPagesOnly) {
  const uint32_t n_tokens = 2 * kPage;
  auto cache = open(true);
  Transfer moved;
  ASSERT_TRUE(
      cache
          ->store(
              tokens(n_tokens), random_blob(layout(true), n_tokens, 3), transport::Ack::ram, moved)
          .has_value());
  std::vector<uint32_t> other = tokens(n_tokens);
  other[kPage + 5] = 1;
  EXPECT_EQ(*cache->lookup(other, 0), kPage);
  other[0] = 1;
  EXPECT_EQ(*cache->lookup(other, 0), 0u);
}

TEST_P(LlamaCacheTest, TailAndShortSequencesStoreNothingOfTheirs) {
  auto cache = open(true);
  Transfer moved;
  const Bytes blob = random_blob(layout(true), kPage + 20, 4);
  EXPECT_EQ(*cache->store(tokens(kPage + 20), blob, transport::Ack::ram, moved), kPage);
  Transfer none;
  EXPECT_EQ(*cache->store(tokens(kPage - 1), blob, transport::Ack::ram, none), 0u);
  EXPECT_EQ(none.pages + none.pages_kept, 0u);
  EXPECT_EQ(*cache->lookup(tokens(kPage - 1), 0), 0u);
  EXPECT_EQ(*cache->lookup({}, 0), 0u);
}

TEST_P(LlamaCacheTest, BlobThatDoesNotHoldTheTokensIsRefused) {
  auto cache = open(true);
  Transfer moved;
  const Bytes blob = random_blob(layout(true), kPage, 5);
  EXPECT_EQ(cache->store(tokens(2 * kPage), blob, transport::Ack::ram, moved).error().code,
            Errc::bad_value);
  Bytes longer = blob;
  longer.push_back(0);
  EXPECT_TRUE(cache->store(tokens(kPage), longer, transport::Ack::ram, moved).has_error());
  EXPECT_EQ(open(false)->store(tokens(kPage), blob, transport::Ack::ram, moved).error().code,
            Errc::layout_mismatch);
  EXPECT_EQ(daemon_.cache().stats().ram.stored, 0u);
}

TEST_P(LlamaCacheTest, BufferBelowTheBlobIsRefused) {
  auto cache = open(true);
  Transfer moved;
  ASSERT_TRUE(
      cache->store(tokens(kPage), random_blob(layout(true), kPage, 6), transport::Ack::ram, moved)
          .has_value());
  Bytes out(cache->blob_bytes(kPage) - 1);
  EXPECT_EQ(cache->load(tokens(kPage), 0, out, moved).error().code, Errc::output_too_small);
}

TEST_P(LlamaCacheTest, MissingPageShortensThePrefix) {
  // Stored at two lengths, as a conversation grows: a window's group can be restored where its last
  // pages were stored, nowhere else.
  auto cache = open(true);
  Transfer moved;
  for (uint32_t n_tokens : {3 * kPage, 4 * kPage}) {
    const Bytes blob = random_blob(layout(true), n_tokens, 7);
    ASSERT_TRUE(cache->store(tokens(n_tokens), blob, transport::Ack::ram, moved).has_value());
  }
  const std::vector<uint32_t> all = tokens(4 * kPage);
  EXPECT_EQ(*cache->lookup(all, 0), 4 * kPage);
  const Hash32 last = cache->space(0).keys(all)[3];
  EXPECT_EQ(*cache->space(0).erase({&last, 1}), 1u);
  Bytes out(cache->blob_bytes(4 * kPage));
  EXPECT_EQ(*cache->load(all, 0, out, moved), 3 * kPage);
}

TEST_P(LlamaCacheTest, PageThatReadersRefuseCostsOnlyWhatIsBehindIt) {
  auto cache = open(true);
  Transfer moved;
  const Bytes first = random_blob(layout(true), kPage, 9);
  ASSERT_TRUE(cache->store(tokens(kPage), first, transport::Ack::ram, moved).has_value());
  // Whole and under the right key, but at another position: the daemon cannot tell.
  Space& space = cache->space(0);
  const std::vector<Hash32> keys = space.keys(tokens(2 * kPage));
  const Bytes tensors(space.page_bytes());
  auto load = [&](uint32_t) -> Result<ByteSpan> { return ByteSpan(tensors); };
  ASSERT_TRUE(space
                  .put({.keys = {&keys[1], 1}, .first_page = 5},
                       {&keys[0], 1},
                       load,
                       transport::Ack::ram,
                       moved)
                  .has_value());
  const Bytes both = random_blob(layout(true), 2 * kPage, 9);
  ASSERT_TRUE(cache->store(tokens(2 * kPage), both, transport::Ack::ram, moved).has_value());
  ASSERT_EQ(*cache->lookup(tokens(2 * kPage), 0), 2 * kPage);
  Bytes out(cache->blob_bytes(2 * kPage));
  Transfer loaded;
  EXPECT_EQ(*cache->load(tokens(2 * kPage), 0, out, loaded), kPage);
  EXPECT_EQ(loaded.pages_damaged, 2u);
  out.resize(first.size());
  EXPECT_EQ(out, first);
}

TEST_P(LlamaCacheTest, ExplicitKeysRestoreWhatTheyNameOrNothing) {
  const uint32_t n_tokens = 2 * kPage;
  auto cache = open(true);
  const Bytes blob = random_blob(layout(true), n_tokens, 8);
  Transfer moved;
  ASSERT_TRUE(cache->store(tokens(n_tokens), blob, transport::Ack::ram, moved).has_value());
  std::vector<Hash32> keys = cache->keys(tokens(n_tokens));
  Bytes out(blob.size());
  EXPECT_EQ(*cache->load_keys(keys, 0, out, moved), n_tokens);
  EXPECT_EQ(out, blob);
  keys.back()[0] ^= 1;
  EXPECT_EQ(*cache->load_keys(keys, 0, out, moved), 0u);
  EXPECT_EQ(cache->load_keys({}, 0, out, moved).error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace sluice::client
