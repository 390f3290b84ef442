#include "store/policy.h"

#include <gtest/gtest.h>

#include <map>

#include "src/base/prng.h"
#include "tests/store/sample_record.h"

namespace sluice::store {
namespace {

// Evicts all there is, as numbers of key_of, orphans negative.
std::vector<int> drain(EvictionOrder& order) {
  std::vector<int> numbers;
  while (auto victim = order.victim()) {
    int number = static_cast<int>(load_le<uint64_t>(victim->key.data()));
    numbers.push_back(victim->kind == VictimKind::orphan ? -number : number);
    order.remove(victim->key);
  }
  return numbers;
}

Key key(int number) {
  return key_of(static_cast<uint64_t>(number) - 1);
}

void add(EvictionOrder& order, int number, int anchor, uint64_t now) {
  ASSERT_TRUE(order.insert(key(number), anchor == 0 ? kNoAnchor : key(anchor), now).has_value());
}

TEST(EvictionOrder, NothingIsThereToEvictAtFirst) {
  EvictionOrder order;
  EXPECT_FALSE(order.victim().has_value());
}

TEST(EvictionOrder, AChainGoesFromItsEnd) {
  EvictionOrder order;
  add(order, 1, 0, 1);
  add(order, 2, 1, 2);
  add(order, 3, 2, 3);
  order.touch(key(3), 9);
  EXPECT_EQ(drain(order), (std::vector<int>{3, 2, 1}));
}

TEST(EvictionOrder, LeavesGoByLastUse) {
  EvictionOrder order;
  add(order, 1, 0, 1);
  add(order, 2, 1, 2);
  add(order, 3, 1, 3);
  add(order, 4, 0, 4);
  order.touch(key(2), 5);
  EXPECT_EQ(drain(order), (std::vector<int>{3, 4, 2, 1}));
}

TEST(EvictionOrder, OrphansGoFirstAndTheirOwnChainAfterThem) {
  EvictionOrder order;
  add(order, 1, 0, 1);
  add(order, 8, 7, 2);
  add(order, 9, 8, 3);
  EXPECT_EQ(drain(order), (std::vector<int>{-8, -9, 1}));
}

TEST(EvictionOrder, AnOrphanIsOneNoMoreOnceItsAnchorComes) {
  EvictionOrder order;
  add(order, 2, 1, 1);
  add(order, 3, 0, 2);
  add(order, 1, 0, 3);
  EXPECT_EQ(drain(order), (std::vector<int>{2, 3, 1}));
}

TEST(EvictionOrder, RemovingAnInnerRecordOrphansThoseThatHangOnIt) {
  EvictionOrder order;
  add(order, 1, 0, 1);
  add(order, 2, 1, 2);
  add(order, 3, 1, 3);
  order.remove(key(1));
  EXPECT_EQ(drain(order), (std::vector<int>{-2, -3}));
}

TEST(EvictionOrder, AClaimKeepsALeafUntilItIsReleased) {
  EvictionOrder order;
  add(order, 1, 0, 1);
  order.claim(key(1));
  order.claim(key(1));
  order.claim(kNoAnchor);
  order.release(key(1));
  EXPECT_FALSE(order.victim().has_value());
  order.release(key(1));
  order.release(kNoAnchor);
  EXPECT_EQ(drain(order), (std::vector<int>{1}));
}

TEST(EvictionOrder, ANewAnchorMovesARecord) {
  EvictionOrder order;
  add(order, 1, 0, 1);
  add(order, 2, 0, 2);
  add(order, 3, 1, 3);
  add(order, 3, 2, 4);
  EXPECT_EQ(drain(order), (std::vector<int>{1, 3, 2}));
}

TEST(EvictionOrder, ARingIsRefusedAndChangesNothing) {
  EvictionOrder order;
  EXPECT_EQ(order.insert(key(1), key(1), 1).error().code, Errc::invalid_argument);
  add(order, 1, 2, 1);
  add(order, 3, 1, 2);
  EXPECT_EQ(order.insert(key(2), key(3), 3).error().code, Errc::invalid_argument);
  EXPECT_EQ(drain(order), (std::vector<int>{-1, -3}));
}

// The order's rules as sentences over plain maps, slow on purpose.
struct Oracle {
  struct Entry {
    Key anchor{};
    uint64_t last_use = 0;
  };

  std::map<Key, Entry> records;
  std::map<Key, int> claims;

  bool hangs_on(Key from, const Key& key) const {
    for (size_t i = 0; i <= records.size(); ++i) {
      if (from == key) {
        return true;
      }
      auto found = records.find(from);
      if (found == records.end()) {
        return false;
      }
      from = found->second.anchor;
    }
    return false;
  }

  std::optional<Victim> victim() const {
    std::optional<Victim> first;
    for (const auto& [key, entry] : records) {
      bool orphan = entry.anchor != kNoAnchor && !records.contains(entry.anchor);
      bool named = claims.contains(key) && claims.at(key) > 0;
      for (const auto& [other, other_entry] : records) {
        named = named || other_entry.anchor == key;
      }
      Victim victim{key, orphan ? VictimKind::orphan : VictimKind::leaf, entry.last_use};
      if ((orphan || !named) && (!first || victim.before(*first))) {
        first = victim;
      }
    }
    return first;
  }
};

TEST(EvictionOrder, AgreesWithItsRulesOnRandomSteps) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Prng prng(seed);
    EvictionOrder order;
    Oracle oracle;
    for (uint64_t now = 1; now <= 3000; ++now) {
      Key name = key_of(prng.below(12));
      Key anchor = prng.below(4) == 0 ? kNoAnchor : key_of(prng.below(12));
      bool there = oracle.records.contains(name);
      switch (prng.below(6)) {
        case 0:
        case 1:
        case 2: {
          bool ring = anchor != kNoAnchor && oracle.hangs_on(anchor, name);
          ASSERT_EQ(order.insert(name, anchor, now).has_value(), !ring);
          if (!ring) {
            oracle.records[name] = {.anchor = anchor, .last_use = now};
          }
          break;
        }
        case 3:
          if (there) {
            order.remove(name);
            oracle.records.erase(name);
          }
          break;
        case 4:
          if (there) {
            order.touch(name, now);
            oracle.records[name].last_use = now;
          }
          break;
        default:
          if (oracle.claims[name] > 0) {
            order.release(name);
            oracle.claims[name] -= 1;
          } else {
            order.claim(name);
            oracle.claims[name] += 1;
          }
      }
      std::optional<Victim> expected = oracle.victim();
      std::optional<Victim> victim = order.victim();
      ASSERT_EQ(victim.has_value(), expected.has_value()) << "seed " << seed << " step " << now;
      if (victim) {
        ASSERT_EQ(victim->key, expected->key) << "seed " << seed << " step " << now;
        ASSERT_EQ(victim->kind, expected->kind);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::store
