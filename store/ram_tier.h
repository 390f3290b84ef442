// The RAM tier: records by (tenant, key) in one arena, whole or not at all.
//
// Not a page parser: what a record's bytes mean is its writer's matter. Bytes are checked when they
// come in and at every read; what does not agree is taken out and never served. What is charged
// (extents and an estimate of the index, kRecordOverheadBytes) never exceeds the capacity. One
// thread owns the tier and everything that it hands out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "store/arena.h"
#include "store/policy.h"
#include "store/record.h"

namespace sluice::store {

// Charged for the index entry of a record: a flat part and its section sums. Measured with
// mallinfo2: 781 bytes a record with 20 sections. Until its record is known, a put is charged the
// sums of sections of 24 KiB.
inline constexpr uint64_t kRecordOverheadBytes = 1024;
inline constexpr uint64_t kSectionOverheadBytes = sizeof(SectionSum);
inline constexpr uint64_t kPutOverheadShare = 1024;  // one byte in so many

// All puts on their way together may hold one part in so many of the capacity, which also bounds a
// single record: slow or broken puts must not push out what is stored.
inline constexpr uint64_t kReservedShare = 4;
inline constexpr uint64_t kRamCapacityBytesMax = 1ull << 44;

struct RamTierConfig {
  uint64_t capacity_bytes = 1ull << 30;  // a multiple of 64, up to kRamCapacityBytesMax
  uint64_t tenant_bytes_max = 0;         // charged to one tenant; 0: the capacity alone bounds it

  // Errors: bad_config.
  Status validate() const;
};

// Gauges and counters since open().
struct RamTierStats {
  uint64_t capacity_bytes = 0;
  uint64_t records = 0;
  uint64_t bytes = 0;           // charged for records
  uint64_t reserved_bytes = 0;  // charged for puts on their way
  uint64_t held_bytes = 0;      // of extents that only readers still hold
  uint64_t hits = 0;            // reads answered
  uint64_t misses = 0;          // reads of a key that is not there
  uint64_t damaged = 0;         // records quarantined
  uint64_t stored = 0;          // commits under a new key
  uint64_t replaced = 0;        // commits over an older record
  uint64_t erased = 0;
  uint64_t evicted_orphans = 0;
  uint64_t evicted_leaves = 0;
  uint64_t refused = 0;  // reservations that found no space
};

class RamTier;

// Bytes of the arena that a put fills; without a commit they go back when this object ends, and
// nothing of the put was ever visible. Must not outlive its tier.
class Reservation {
 public:
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation();

  // Where the record's bytes go, all of them.
  MutByteSpan bytes() { return extent_->bytes(); }

  ByteSpan bytes() const { return std::as_const(*extent_).bytes(); }

 private:
  friend class RamTier;

  Reservation(RamTier& tier, uint32_t tenant, const Key& anchor, std::unique_ptr<Extent> extent);

  RamTier* tier_;  // null once moved from
  uint32_t tenant_;
  Key anchor_;
  std::unique_ptr<Extent> extent_;
};

// A record with its bytes; what a PageRef keeps alive.
struct StoredRecord {
  Record record;
  std::unique_ptr<Extent> extent;
};

// A whole record as it was read: unchanged while held, also when it is evicted or replaced
// meanwhile.
class PageRef {
 public:
  const Record& record() const { return stored_->record; }

  ByteSpan bytes() const { return std::as_const(*stored_->extent).bytes(); }

  // Keeps bytes() in place without this object.
  std::shared_ptr<const void> keep_alive() const { return stored_; }

 private:
  friend class RamTier;

  explicit PageRef(std::shared_ptr<const StoredRecord> stored) : stored_(std::move(stored)) {}

  std::shared_ptr<const StoredRecord> stored_;
};

class RamTier {
 public:
  // An empty tier. Errors: bad_config, io_error (the memory cannot be mapped).
  static Result<std::unique_ptr<RamTier>> open(const RamTierConfig& config);

  ~RamTier();
  RamTier(const RamTier&) = delete;
  RamTier& operator=(const RamTier&) = delete;

  // Makes room for a record of `bytes` that will hang on `anchor` (kNoAnchor: on none), evicting
  // what the order says but never `anchor` as a leaf. Errors: invalid_argument (0 bytes), too_large
  // (more than a quarter of the capacity, or than the tenant's share), overloaded (with other puts
  // on their way more than a quarter), no_space (all that is left is inner, reserved or held).
  Result<Reservation> reserve(uint32_t tenant, const Key& anchor, uint64_t bytes);

  // Checks the filled bytes against `record` and makes it visible in place of any older one.
  // Requires: record.tenant and record.anchor are the reservation's. Errors: as verify();
  // invalid_argument (the record would hang on itself); no_space (for more section sums than a put
  // is charged). Nothing is stored then.
  Status commit(Reservation&& reservation, Record record);

  // The record's metadata, or null. Not a use; valid until the next call that changes the tier.
  const Record* find(uint32_t tenant, const Key& key) const;

  // The record, checked now, and used now. Errors: not_found; damaged (the text names what
  // disagrees; the record is quarantined: taken out and counted).
  Result<PageRef> read(uint32_t tenant, const Key& key);

  // The same, but only the header and these sections are checked. Errors: as read();
  // invalid_argument (sections that the record does not have).
  Result<PageRef> read(uint32_t tenant, const Key& key, std::span<const SectionRun> runs);

  // The record as it lies there, unchecked and not used by this, or nothing: for a writer that
  // checks it itself.
  std::optional<PageRef> hold(uint32_t tenant, const Key& key) const;

  // Marks a record as used, if it is there.
  void touch(uint32_t tenant, const Key& key);

  // Takes the last rows of a record away and gives their bytes back, unless somebody reads it.
  // Errors: not_found (no such record, or another encoding of it), invalid_argument (no row would
  // stay, or none go), overloaded (its bytes are held: try again when they are not).
  Status cut(uint32_t tenant, const Key& key, const EncodingId& encoding_id, uint32_t rows);

  // Takes a record out; false if it is not there.
  bool erase(uint32_t tenant, const Key& key);

  // Checks a record that somebody reports as damaged and quarantines it if it is: true then, false
  // if it is whole. Errors: not_found (no such record, or another encoding of it).
  Result<bool> recheck(uint32_t tenant, const Key& key, const EncodingId& encoding_id);

  RamTierStats stats() const;

 private:
  friend class Reservation;

  struct Tenant {
    std::unordered_map<Key, std::shared_ptr<StoredRecord>, KeyHash> records;
    EvictionOrder order;
    uint64_t charged_bytes = 0;
  };

  explicit RamTier(const RamTierConfig& config, std::shared_ptr<Arena> arena);

  // What is counted against the capacity.
  struct Charge {
    uint64_t extent_bytes = 0;
    uint64_t overhead_bytes = 0;

    uint64_t sum() const { return extent_bytes + overhead_bytes; }
  };

  static Charge put_charge(uint64_t bytes);
  static Charge record_charge(const Record& record);

  Error no_space(uint32_t tenant, uint64_t bytes) const;
  std::unique_ptr<Extent> make_room(Tenant& tenant, uint64_t bytes);
  // Evicts until `need` more bytes may be charged to the tenant; false if they never can be.
  bool make_charge_fit(Tenant& tenant, uint64_t need);
  // What readers hold and puts reserved stays taken however much is evicted: a put that cannot fit
  // beside them must not empty the tier first.
  bool fits_beside_readers(uint64_t need) const;
  bool evict_one_of(Tenant& tenant);
  bool evict_one();
  void evict(Tenant& tenant, const Victim& victim);
  void remove(Tenant& tenant, const Key& key);
  void charge(Tenant& tenant, const Charge& charge);
  void discharge(Tenant& tenant, const Charge& charge);
  void release(const Reservation& reservation);
  const std::shared_ptr<StoredRecord>* lookup(uint32_t tenant, const Key& key) const;

  RamTierConfig config_;
  std::shared_ptr<Arena> arena_;
  std::map<uint32_t, Tenant> tenants_;  // few: those that authenticate
  uint64_t now_ = 0;                    // rises with each use
  uint64_t overhead_bytes_ = 0;         // of records and reservations
  RamTierStats stats_;                  // counters, and gauges that are kept as they change
};

}  // namespace sluice::store
