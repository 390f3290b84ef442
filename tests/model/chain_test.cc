#include "src/model/chain.h"

#include <gtest/gtest.h>

#include <set>

#include "src/base/prng.h"
#include "tests/model/golden_json.h"

namespace sluice {
namespace {

std::vector<std::vector<ExtraKey>> extra_of(const nlohmann::json& pages) {
  std::vector<std::vector<ExtraKey>> out;
  for (const auto& page : pages) {
    out.emplace_back();
    for (const auto& key : page) {
      out.back().push_back({key[0].get<uint16_t>(), hex_bytes(key[1])});
    }
  }
  return out;
}

std::vector<uint32_t> some_tokens(size_t count) {
  std::vector<uint32_t> tokens(count);
  Prng random(7);
  for (uint32_t& token : tokens) {
    token = static_cast<uint32_t>(random.below(150000));
  }
  return tokens;
}

TEST(PageKeys, GoldenKeysAreThoseOfTheSpecification) {
  nlohmann::json golden = golden_json("self_test.json");
  for (const auto& [name, entry] : golden.items()) {
    std::vector<Hash32> keys = page_keys(space_id(hex_bytes(entry["descriptor_hex"])),
                                         entry["tokens"].get<std::vector<uint32_t>>(),
                                         entry["descriptor"]["page_tokens"],
                                         extra_of(entry["extra_by_page"]));
    ASSERT_EQ(keys.size(), entry["keys"].size()) << name;
    for (size_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(hex(keys[i]), entry["keys"][i]) << name << ", page " << i;
    }
  }
}

TEST(PageKeys, SelfTestIsTheGoldenKey) {
  EXPECT_EQ(hex(chain_self_test()), golden_json("self_test.json")["self_test"]["keys"].back());
}

TEST(PageKeys, OnlyFullPagesHaveKeys) {
  std::vector<uint32_t> tokens = some_tokens(129);
  std::vector<Hash32> keys = page_keys({}, tokens, 64);
  EXPECT_EQ(keys.size(), 2u);
  for (size_t count : {size_t{0}, size_t{63}}) {
    EXPECT_TRUE(page_keys({}, std::span(tokens).first(count), 64).empty());
  }
  EXPECT_EQ(page_keys({}, std::span(tokens).first(128), 64), keys);
}

TEST(PageKeys, EachKeyCommitsToAllTokensBefore) {
  const std::vector<uint32_t> tokens = some_tokens(256);
  const std::vector<Hash32> before = page_keys({}, tokens, 32);
  for (size_t changed = 0; changed < tokens.size(); ++changed) {
    std::vector<uint32_t> other = tokens;
    other[changed] ^= 1u << (changed % 32);
    std::vector<Hash32> after = page_keys({}, other, 32);
    for (size_t page = 0; page < before.size(); ++page) {
      EXPECT_EQ(after[page] == before[page], page < changed / 32) << changed << ", page " << page;
    }
  }
}

TEST(PageKey, EveryInputIsPartOfIt) {
  std::vector<uint32_t> tokens = {1, 2, 3};
  std::vector<ExtraKey> extra = {{1, {0, 1}}};
  Hash32 one{};
  one[0] = 1;
  std::set<Hash32> keys = {
      page_key({}, kRootKey, tokens),
      page_key(one, kRootKey, tokens),
      page_key({}, one, tokens),
      page_key({}, kRootKey, std::vector<uint32_t>{1, 2}),
      page_key({}, kRootKey, std::vector<uint32_t>{1, 3, 2}),
      page_key({}, kRootKey, std::vector<uint32_t>{}),
      page_key({}, kRootKey, tokens, extra),
      page_key({}, kRootKey, tokens, std::vector<ExtraKey>{{2, {0, 1}}}),
      page_key({}, kRootKey, tokens, std::vector<ExtraKey>{{1, {0}}, {1, {1}}}),
      page_key({}, kRootKey, tokens, std::vector<ExtraKey>{{1, {}}}),
  };
  EXPECT_EQ(keys.size(), 10u);
}

TEST(PageKey, OrderOfExtraKeysDoesNotMatter) {
  std::vector<ExtraKey> sorted = {{1, {9}}, {2, {}}, {2, {1}}, {300, {0}}};
  std::vector<ExtraKey> mixed = {sorted[3], sorted[2], sorted[0], sorted[1]};
  std::vector<uint32_t> tokens = {5};
  EXPECT_EQ(page_key({}, kRootKey, tokens, sorted), page_key({}, kRootKey, tokens, mixed));
}

}  // namespace
}  // namespace sluice
