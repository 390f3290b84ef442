// The RAM tier against an oracle of plain maps: 10^5 seeded steps of put, torn put, read, hold,
// touch, erase, damage and recheck by two tenants in a small arena.
//
// After every step: the tier holds exactly what the oracle says, and charges exactly that; what
// was evicted went in the order of the rules; no two extents overlap; what is read or held is
// byte-equal to what was put. A failure prints seed and step.
#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>

#include "store/ram_tier.h"
#include "tests/store/sample_record.h"

namespace sluice::store {
namespace {

constexpr uint64_t kCapacity = 256 << 10;
constexpr uint64_t kTenantMax = 160 << 10;
constexpr uint64_t kKeys = 30;  // of one tenant

uint64_t put_charge_of(uint64_t bytes) {
  return Arena::extent_bytes(bytes) + kRecordOverheadBytes + bytes / kPutOverheadShare;
}

uint64_t charge_of(const Record& record) {
  return Arena::extent_bytes(record.bytes()) + kRecordOverheadBytes +
         kSectionOverheadBytes * record.sections.size();
}

struct Stored {
  Sample sample;
  const uint8_t* at = nullptr;
  uint64_t last_use = 0;
  bool is_damaged = false;
};

struct Held {
  PageRef page;
  Bytes bytes;
};

// A put on its way.
struct Pending {
  Reservation room;
  Sample sample;
};

class Model {
 public:
  explicit Model(uint64_t seed) : prng_(seed) {
    tier_ = *RamTier::open({.capacity_bytes = kCapacity, .tenant_bytes_max = kTenantMax});
  }

  void step() {
    uint64_t choice = prng_.below(100);
    if (choice < 35) {
      begin_put();
    } else if (choice < 65) {
      end_put();
    } else if (choice < 80) {
      read();
    } else if (choice < 85) {
      erase();
    } else if (choice < 88) {
      touch();
    } else if (choice < 92) {
      damage();
    } else if (choice < 95) {
      recheck();
    } else if (!held_.empty()) {
      let_go();
    }
    compare();
  }

  RamTierStats stats() const { return tier_->stats(); }

 private:
  using Id = std::pair<uint32_t, Key>;

  Id any_id() { return {static_cast<uint32_t>(prng_.below(2)), key_of(prng_.below(kKeys))}; }

  bool is_orphan(const Id& id, const Stored& stored) const {
    const Key& anchor = stored.sample.record.anchor;
    return anchor != kNoAnchor && !stored_.contains({id.first, anchor});
  }

  bool is_named(const Id& id) const {
    auto names = [&](const Record& record) {
      return record.tenant == id.first && record.anchor == id.second;
    };
    return std::any_of(stored_.begin(),
                       stored_.end(),
                       [&](const auto& entry) { return names(entry.second.sample.record); }) ||
           std::any_of(pending_.begin(), pending_.end(), [&](const Pending& pending) {
             return names(pending.sample.record);
           });
  }

  // What has to go next, of one tenant or (-1) of all; the end where nothing may.
  std::map<Id, Stored>::iterator victim(int64_t tenant, const Id& claimed) {
    auto first = stored_.end();
    bool first_is_orphan = false;
    for (auto it = stored_.begin(); it != stored_.end(); ++it) {
      bool orphan = is_orphan(it->first, it->second);
      bool counts = tenant < 0 || it->first.first == tenant;
      if (!counts || (!orphan && (is_named(it->first) || it->first == claimed))) {
        continue;
      }
      if (first == stored_.end() || (orphan && !first_is_orphan) ||
          (orphan == first_is_orphan && it->second.last_use < first->second.last_use)) {
        first = it;
        first_is_orphan = orphan;
      }
    }
    return first;
  }

  uint64_t charged(int64_t tenant) const {
    uint64_t sum = 0;
    for (const auto& [id, stored] : stored_) {
      sum += tenant < 0 || id.first == tenant ? charge_of(stored.sample.record) : 0;
    }
    for (const Pending& pending : pending_) {
      const Sample& sample = pending.sample;
      sum += tenant < 0 || sample.record.tenant == tenant ? put_charge_of(sample.bytes.size()) : 0;
    }
    return sum;
  }

  bool is_there(const std::pair<const Id, Stored>& entry) const {
    const Record* record = tier_->find(entry.first.first, entry.first.second);
    return record != nullptr && *record == entry.second.sample.record;
  }

  // Takes out of the oracle what the tier evicted for `need` more bytes, checking that the rules
  // name the same.
  void follow_evictions(const Record& record, uint64_t need) {
    Id claimed = {record.tenant, record.anchor};
    while (charged(record.tenant) + need > kTenantMax) {
      auto gone = victim(record.tenant, claimed);
      if (gone == stored_.end() || is_there(*gone)) {
        break;
      }
      stored_.erase(gone);
    }
    while (true) {
      auto gone = victim(-1, claimed);
      if (gone == stored_.end() || is_there(*gone)) {
        break;
      }
      stored_.erase(gone);
    }
  }

  // Nothing more may go, or all of it together would not be enough beside what readers and puts
  // hold.
  void check_no_space(const Record& record, uint64_t need, uint64_t reserved) {
    bool over_share = charged(record.tenant) + need > kTenantMax;
    bool stuck = tier_->stats().held_bytes + reserved + need > kCapacity;
    ASSERT_TRUE(stuck || victim(over_share ? record.tenant : -1, {record.tenant, record.anchor}) ==
                             stored_.end());
  }

  void begin_put() {
    auto [tenant, key] = any_id();
    // Mostly chains, sometimes anchors that are absent or that would close a ring.
    Key anchor = prng_.below(5) == 0 ? kNoAnchor : key_of(prng_.below(kKeys));
    Sample sample = make_sample({.seed = prng_.next(),
                                 .bytes = 100 + prng_.below(prng_.below(8) == 0 ? 60000 : 9000),
                                 .tenant = tenant,
                                 .key = key,
                                 .anchor = anchor,
                                 .sections = prng_.below(6) == 0 ? 400u : 3u});
    auto room = tier_->reserve(tenant, anchor, sample.bytes.size());
    if (room.has_error() && room.error().code == Errc::overloaded) {
      ASSERT_FALSE(pending_.empty());
      return;
    }
    follow_evictions(sample.record, put_charge_of(sample.bytes.size()));
    if (room.has_error()) {
      ASSERT_EQ(room.error().code, Errc::no_space);
      check_no_space(
          sample.record, put_charge_of(sample.bytes.size()), tier_->stats().reserved_bytes);
      return;
    }
    check_apart(room->bytes());
    std::copy(sample.bytes.begin(), sample.bytes.end(), room->bytes().begin());
    pending_.push_back({*std::move(room), std::move(sample)});
  }

  void end_put() {
    if (pending_.empty()) {
      return;
    }
    auto pending =
        std::next(pending_.begin(), static_cast<ptrdiff_t>(prng_.below(pending_.size())));
    Sample sample = pending->sample;
    Id id = {sample.record.tenant, sample.record.key};
    uint64_t how = prng_.below(10);
    if (how == 0) {
      pending_.erase(pending);  // torn
      return;
    }
    if (how == 1) {
      pending->room.bytes()[prng_.below(sample.bytes.size())] ^= 1;
    }
    const uint8_t* at = pending->room.bytes().data();
    const uint64_t reserved = tier_->stats().reserved_bytes;
    Status status = tier_->commit(std::move(pending->room), sample.record);
    if (how != 1) {
      check_end(sample.record, status, reserved);
    }
    pending_.erase(pending);
    if (how == 1) {
      ASSERT_EQ(status.error().code, Errc::bad_checksum);
    } else if (status.has_value()) {
      stored_[id] = {.sample = std::move(sample), .at = at, .last_use = ++now_};
    }
  }

  // What a commit evicted for section sums beyond what the put was charged, and how it ended.
  void check_end(const Record& record, const Status& status, uint64_t reserved) {
    const uint64_t put_charge = put_charge_of(record.bytes());
    const uint64_t more = std::max(charge_of(record), put_charge) - put_charge;
    if (more > 0) {
      follow_evictions(record, more);
    }
    if (status.has_error() && status.error().code == Errc::no_space) {
      check_no_space(record, more, reserved);
    } else {
      ASSERT_EQ(status.has_error(), closes_ring(record));
      ASSERT_TRUE(status.has_value() || status.error().code == Errc::invalid_argument);
    }
  }

  bool closes_ring(const Record& record) const {
    Key at = record.anchor;
    for (uint64_t i = 0; i <= kKeys; ++i) {
      if (at == record.key) {
        return true;
      }
      auto found = stored_.find({record.tenant, at});
      if (found == stored_.end()) {
        return false;
      }
      at = found->second.sample.record.anchor;
    }
    return false;
  }

  void read() {
    Id id = any_id();
    auto page = tier_->read(id.first, id.second);
    auto found = stored_.find(id);
    if (found == stored_.end()) {
      ASSERT_EQ(page.error().code, Errc::not_found);
    } else if (found->second.is_damaged) {
      ASSERT_EQ(page.error().code, Errc::damaged);
      stored_.erase(found);
    } else {
      ASSERT_TRUE(page.has_value());
      ASSERT_TRUE(std::ranges::equal(page->bytes(), found->second.sample.bytes));
      found->second.last_use = ++now_;
      if (held_.size() < 6 && prng_.below(3) == 0) {
        held_.push_back({*std::move(page), found->second.sample.bytes});
      }
    }
  }

  void let_go() {
    auto held = std::next(held_.begin(), static_cast<ptrdiff_t>(prng_.below(held_.size())));
    ASSERT_TRUE(std::ranges::equal(held->page.bytes(), held->bytes));
    held_.erase(held);
  }

  void erase() {
    Id id = any_id();
    ASSERT_EQ(tier_->erase(id.first, id.second), stored_.erase(id) == 1);
  }

  void touch() {
    Id id = any_id();
    tier_->touch(id.first, id.second);
    if (auto found = stored_.find(id); found != stored_.end()) {
      found->second.last_use = ++now_;
    }
  }

  void damage() {
    auto found = stored_.find(any_id());
    if (found == stored_.end()) {
      return;
    }
    auto same = [&](const Held& held) { return held.page.bytes().data() == found->second.at; };
    if (std::none_of(held_.begin(), held_.end(), same) && !found->second.is_damaged) {
      const_cast<uint8_t*>(found->second.at)[prng_.below(found->second.sample.bytes.size())] ^= 4;
      found->second.is_damaged = true;
    }
  }

  void recheck() {
    Id id = any_id();
    auto found = stored_.find(id);
    if (found == stored_.end()) {
      ASSERT_EQ(tier_->recheck(id.first, id.second, EncodingId{}).error().code, Errc::not_found);
      return;
    }
    auto result = tier_->recheck(id.first, id.second, found->second.sample.record.encoding_id);
    ASSERT_EQ(*result, found->second.is_damaged);
    if (*result) {
      stored_.erase(found);
    }
  }

  void check_apart(ByteSpan room) {
    auto apart = [&](const uint8_t* at, size_t bytes) {
      return room.data() + room.size() <= at || at + bytes <= room.data();
    };
    for (const auto& [id, stored] : stored_) {
      ASSERT_TRUE(apart(stored.at, stored.sample.bytes.size()));
    }
    for (const Held& held : held_) {
      ASSERT_TRUE(apart(held.page.bytes().data(), held.bytes.size()));
    }
    for (const Pending& pending : pending_) {
      ASSERT_TRUE(apart(pending.room.bytes().data(), pending.sample.bytes.size()));
    }
  }

  void compare() {
    RamTierStats stats = tier_->stats();
    ASSERT_EQ(stats.records, stored_.size());
    ASSERT_EQ(stats.bytes + stats.reserved_bytes, charged(-1));
    ASSERT_LE(stats.bytes + stats.reserved_bytes + stats.held_bytes, kCapacity);
    ASSERT_LE(charged(0), kTenantMax);
    ASSERT_LE(charged(1), kTenantMax);
    for (const auto& [id, stored] : stored_) {
      const Record* record = tier_->find(id.first, id.second);
      ASSERT_NE(record, nullptr);
      ASSERT_EQ(*record, stored.sample.record);
    }
  }

  Prng prng_;
  std::unique_ptr<RamTier> tier_;
  std::map<Id, Stored> stored_;
  std::list<Held> held_;
  std::list<Pending> pending_;
  uint64_t now_ = 0;
};

TEST(RamTierModel, TierAndOracleAgreeOnEveryStep) {
  RamTierStats sum;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Model model(seed);
    for (int step = 0; step < 10000; ++step) {
      model.step();
      ASSERT_FALSE(HasFatalFailure()) << "seed " << seed << " step " << step;
    }
    RamTierStats stats = model.stats();
    sum.evicted_leaves += stats.evicted_leaves;
    sum.evicted_orphans += stats.evicted_orphans;
    sum.replaced += stats.replaced;
    sum.damaged += stats.damaged;
    sum.refused += stats.refused;
  }
  // The steps reach what they are for.
  EXPECT_GT(sum.evicted_leaves, 1000u);
  EXPECT_GT(sum.evicted_orphans, 1000u);
  EXPECT_GT(sum.replaced, 1000u);
  EXPECT_GT(sum.damaged, 300u);
  EXPECT_GT(sum.refused, 100u);
}

}  // namespace
}  // namespace sluice::store
