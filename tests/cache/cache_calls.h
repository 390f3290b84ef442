// PageCache's calls as plain functions, for tests: each waits for its `done`, which `step` brings
// nearer where it does not come at once.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <utility>

#include "src/cache/page_cache.h"

namespace sluice::cache {

// The bytes of an answer, its pieces one behind the other.
inline Bytes joined(const PageAnswer& answer) {
  Bytes all(answer.header.begin(), answer.header.end());
  for (ByteSpan piece : answer.sections) {
    all.insert(all.end(), piece.begin(), piece.end());
  }
  return all;
}

struct CacheCalls {
  PageCache& cache;
  std::function<bool()> step = [] { return false; };  // false: nothing is left to be done

  Result<PageAnswer> get(const OpenSpace& open, const PageQuery& query) {
    return wait<Result<PageAnswer>>([&](auto done) { cache.get(open, query, done); });
  }

  Result<PutOutcome> put(const OpenSpace& open,
                         const Key& key,
                         ByteSpan page,
                         const Key& anchor = {},
                         Durability durability = Durability::ram) {
    SLUICE_TRY(PendingPut pending, cache.put_begin(open, key, anchor, page.size(), durability));
    std::copy(page.begin(), page.end(), pending.destination().begin());
    return wait<Result<PutOutcome>>([&](auto done) { cache.put_end(std::move(pending), done); });
  }

  bool damaged(const OpenSpace& open, const Key& key, const codec::EncodingId& encoding_id) {
    return wait<bool>([&](auto done) { cache.damaged(open, key, encoding_id, done); });
  }

  Result<uint32_t> erase(const OpenSpace& open, std::span<const Key> keys) {
    return wait<Result<uint32_t>>([&](auto done) { cache.erase(open, keys, done); });
  }

 private:
  template <class T, class Call>
  T wait(Call&& call) {
    std::optional<T> answer;
    call([&answer](T got) {
      EXPECT_FALSE(answer.has_value()) << "answered twice";
      answer.emplace(std::move(got));
    });
    while (!answer.has_value() && step()) {
    }
    EXPECT_TRUE(answer.has_value()) << "never answered";
    return *std::move(answer);
  }
};

}  // namespace sluice::cache
