// The daemon's request pipelines over its tiers: open, lookup, get, put, damaged, erase.
//
// Every page is put into RAM; where there is a disk tier it is written there too, behind the put,
// and comes back into RAM when it is read from there, with no more rows than were read: RAM may
// hold fewer rows of a page than the disk.
//
// Not frames or sessions (src/daemon glues those to this), no tensors, no I/O of its own. One
// thread owns it. Everything is bounded: pages by the tiers, spaces by SpaceTable, requests by the
// session's limits. What comes in is untrusted: a page that is not what its put said is refused and
// leaves nothing.
//
// A function that takes a `done` calls it once, on the owner's thread: before it returns where RAM
// is all it takes, else later. When the cache ends first, `done` is destroyed uncalled. `done` may
// call the cache, not end it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "codec/page.h"
#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/cache/page_part.h"
#include "src/cache/profile_store.h"
#include "src/cache/space_table.h"
#include "store/disk_tier.h"
#include "store/ram_tier.h"

namespace sluice::cache {

using store::Key;

struct PageCacheConfig {
  store::RamTierConfig ram;
  std::unique_ptr<store::DiskTier> disk;  // as it was opened; null: RAM is all there is
  ProfileStoreConfig profiles{};
};

// One KV group or head range of a lookup.
struct GroupQuery {
  const OpenSpace* open = nullptr;
  uint32_t window_pages = 0;  // 0: every page of the prefix is needed; else the last so many
  std::span<const Key> keys;  // of the prefix, in order
};

// What a reader of the quality asked for would get of a page.
struct PageStatus {
  uint32_t rows = 0;          // the fewest that are good enough
  uint32_t kl = 0;            // effective, of these, micro-nats
  uint64_t stored_bytes = 0;  // of header and these
};

struct GroupAnswer {
  uint32_t hit_pages = 0;         // from the first key on, without a gap
  uint32_t first_page = 0;        // index in the keys of pages[0]
  std::vector<PageStatus> pages;  // what a reader of common_pages needs of this group
};

struct LookupAnswer {
  uint32_t common_pages = 0;
  std::vector<GroupAnswer> groups;  // as asked
  std::string miss_reason;          // where no page of any group was found: why; else empty
};

// A page to send: its pieces in page order.
struct PageAnswer {
  codec::EncodingId encoding_id{};
  uint32_t rows = 0;  // from first_row on
  uint32_t kl = 0;    // effective, of these and the ones before, micro-nats
  ByteSpan header;
  std::vector<ByteSpan> sections;          // runs of them
  std::shared_ptr<const void> keep_alive;  // keeps the pieces in place
};

// What a put waits for.
enum class Durability : uint8_t {
  ram,   // the page can be served
  disk,  // and a crash does not lose it
};

enum class PutOutcome : uint8_t {
  stored,     // there was none
  replaced,   // it is better than what was there
  unchanged,  // what was there is as good or better and stays
};

// GETs as one tier saw them.
struct TierGets {
  uint64_t hits = 0;    // it had the page that was answered
  uint64_t misses = 0;  // it had to be looked for elsewhere, or was not answered
};

// Counters since open(), beside the tiers'.
struct PageCacheStats {
  store::RamTierStats ram;
  std::optional<store::DiskTierStats> disk;
  ProfileStats profiles;
  TierGets ram_gets;              // all of them
  TierGets disk_gets;             // those that RAM missed, where there is a disk
  uint64_t lookup_pages = 0;      // keys asked for
  uint64_t lookup_hit_pages = 0;  // of these, pages of common prefixes
  uint64_t puts_unchanged = 0;
  uint64_t puts_refused = 0;      // pages that arrived and were not what their put said
  uint64_t damage_reports = 0;    // from clients; those that were right count in ram.damaged
  uint64_t promoted = 0;          // pages that came from disk into RAM
  uint64_t too_large_writes = 0;  // pages in RAM that the log is too small for
};

// A put whose bytes are on their way. Without put_end() they go back when this object ends, and
// nothing of the put was ever visible. Must not outlive its cache.
class PendingPut {
 public:
  // Where the page's bytes go, header first; as many as put_begin() was told.
  MutByteSpan destination() { return reservation_.bytes(); }

 private:
  friend class PageCache;

  PendingPut(OpenSpace open,
             const Key& key,
             const Key& anchor,
             Durability durability,
             store::Reservation reservation)
      : open_(std::move(open)),
        key_(key),
        anchor_(anchor),
        durability_(durability),
        reservation_(std::move(reservation)) {}

  OpenSpace open_;
  Key key_;
  Key anchor_;
  Durability durability_;
  store::Reservation reservation_;
};

using GetDone = std::function<void(Result<PageAnswer>)>;
using DropDone = std::function<void(Status)>;
using PutDone = std::function<void(Result<PutOutcome>)>;
using DamagedDone = std::function<void(bool)>;
using EraseDone = std::function<void(Result<uint32_t>)>;

class PageCache {
 public:
  // A cache with nothing in RAM and what the disk tier brings. Errors: as RamTier::open.
  static Result<std::unique_ptr<PageCache>> open(PageCacheConfig config);

  // Opens a space by its descriptor's bytes; the same bytes give the same space. Errors: as
  // parse_descriptor; bad_value, too_large (no page can have such a shape).
  Result<OpenSpace> open_space(uint32_t tenant, ByteSpan descriptor, uint32_t worst_kl);

  // How many pages of a prefix every group can serve within max_kl, and what they cost; marks them
  // used, so that they are there when the reader comes for them. Requires: the groups' spaces are
  // of one tenant. Errors: invalid_argument (groups whose pages have unequal page_tokens).
  Result<LookupAnswer> lookup(std::span<const GroupQuery> groups, uint32_t max_kl);

  // A page's pieces, each checked now: the first rows within max_kl, no row more. Errors: not_found
  // (no such page, none of this encoding, within max_kl, or with as many rows as the reader has),
  // damaged (it was, and is gone), invalid_argument (layers that the page does not have; later rows
  // of any encoding), overloaded (too many reads from disk are on their way), io_error.
  void get(const OpenSpace& open, const PageQuery& query, GetDone done);

  // Makes room for a page of `page_bytes` under `key`, which may lack its last rows. `anchor`: the
  // page it is evicted with; zeros: none. Errors: unsupported (durability that no tier gives),
  // invalid_argument (no key, 0 bytes, a page that is its own anchor), too_large (more than any
  // page of the space), overloaded, no_space.
  Result<PendingPut> put_begin(const OpenSpace& open,
                               const Key& key,
                               const Key& anchor,
                               uint64_t page_bytes,
                               Durability durability = Durability::ram);

  // Checks the bytes that arrived and makes the page visible, if it is better than what is there,
  // or the same with more rows.
  // Errors: as parse_page_header, check_page; not_found (the profile that it is coded with is not
  // in profiles()); bad_checksum (names section and offset);
  // invalid_argument (the anchor hangs on the page), no_space; for Durability::disk also too_large
  // (for the log), overloaded, no_space, io_error: a crash loses it, though it may be served.
  void put_end(PendingPut put, PutDone done);

  // A client found this encoding of a page damaged: checks the whole page again and takes it out if
  // it is; true then, false if it is intact or gone. A page that is intact but reported twice is
  // taken out too: checksums cannot tell that no client can decode it, and until it is gone no
  // honest put replaces it.
  void damaged(const OpenSpace& open,
               const Key& key,
               const codec::EncodingId& encoding_id,
               const DamagedDone& done);

  // Takes pages out, at once and for ever: done, with how many were there, when a crash cannot
  // bring them back. Errors: too_large, overloaded (nothing was taken out); no_space, io_error (a
  // restart may bring them back).
  void erase(const OpenSpace& open, std::span<const Key> keys, const EraseDone& done);

  // Takes the rows of a page behind the first `rows` away, in both tiers: what is left goes on
  // being served to whom it is good enough. Done when no crash brings them back; a put may. Errors:
  // not_found (no such page, or another encoding of it), invalid_argument (no row would stay, or
  // none go), overloaded (it is being read, or on its way to disk: try again later), no_space,
  // io_error (a restart may bring them back).
  void drop_rows(const OpenSpace& open,
                 const Key& key,
                 const codec::EncodingId& encoding_id,
                 uint32_t rows,
                 const DropDone& done);

  // What pages may be coded with.
  ProfileStore& profiles() { return profiles_; }

  // Done when all that was put before is durable or given up. For a daemon that stops.
  void drain(std::function<void()> done);

  // To be called every second or so.
  void tick();

  PageCacheStats stats() const;

 private:
  PageCache(std::unique_ptr<store::RamTier> ram,
            std::unique_ptr<store::DiskTier> disk,
            ProfileStoreConfig profiles);

  // A page as a tier has it.
  struct Found {
    store::RowEnds rows;
    codec::EncodingId encoding_id{};
    bool in_ram = false;
  };

  struct Waiter {
    PageQuery query;
    GetDone done;
  };

  // A read from disk on its way, of what all who wait for it want.
  struct Flight {
    store::RecordId id;
    codec::EncodingId encoding_id{};
    store::RecordPart part;
    std::vector<Waiter> waiters;
  };

  // The last write of a page that is on its way to disk.
  struct Write {
    uint64_t number = 0;
    store::Record record;
  };

  std::optional<Found> in_ram(const OpenSpace& open, const Key& key) const;
  std::optional<Found> on_disk(const OpenSpace& open, const Key& key) const;
  std::optional<Found> find_wanted(const OpenSpace& open, const PageQuery& query) const;
  Error why_not_wanted(const OpenSpace& open, const PageQuery& query) const;

  bool is_there(const OpenSpace& open, const Key& key) const {
    return in_ram(open, key).has_value() || on_disk(open, key).has_value();
  }

  const store::Record* find_in_ram(const OpenSpace& open, const Key& key) const;
  std::optional<store::DiskEntry> find_on_disk(const OpenSpace& open, const Key& key) const;
  std::optional<store::PageRef> hold_in_ram(const OpenSpace& open, const Key& key) const;
  std::optional<store::Record> newest_for_disk(const store::RecordId& id) const;
  Result<PutOutcome> store_page(PendingPut put);
  void write_behind(const OpenSpace& open,
                    const Key& key,
                    Durability durability,
                    PutOutcome outcome,
                    PutDone done);
  void write(const OpenSpace& open,
             const store::PageRef& page,
             bool wait,
             const store::DiskDone& done);
  void make_durable(const OpenSpace& open, const store::Record& page, store::DiskDone done);
  void get_from_disk(const OpenSpace& open,
                     const PageQuery& query,
                     store::RecordPart part,
                     const codec::EncodingId& encoding_id,
                     GetDone done);
  void land(const std::shared_ptr<Flight>& flight, Result<store::DiskPage> page);
  void promote(store::DiskPage& page);
  void answer(const GetDone& done, Result<PageAnswer> page, bool from_ram);
  bool doubted_before(const store::RecordId& id, const codec::EncodingId& encoding_id);
  bool take_out_doubted(const OpenSpace& open,
                        const Key& key,
                        const codec::EncodingId& encoding_id);
  void keep_for_reader(const GroupQuery& query, const GroupAnswer& answer);
  std::string explain_miss(std::span<const GroupQuery> groups, uint32_t max_kl) const;

  std::unique_ptr<store::RamTier> ram_;
  SpaceTable spaces_;
  std::set<std::pair<store::RecordId, codec::EncodingId>>
      doubted_;  // reported once and found intact
  std::map<store::RecordId, std::shared_ptr<Flight>>
      flights_;                              // those that a reader may still join
  std::map<store::RecordId, Write> writes_;  // of what was not erased meanwhile
  uint64_t last_write_ = 0;
  PageCacheStats stats_;
  ProfileStore profiles_;
  std::unique_ptr<store::DiskTier> disk_;  // ends first: its answers come to the members above
};

}  // namespace sluice::cache
