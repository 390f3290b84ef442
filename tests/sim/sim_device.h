// A folder in memory that fails as disks do, the same way for the same seed.
//
// Fault model:
// - Power loss: of what was not synced, any subset of 512-byte sectors survives, in any order; the
//   length is the old one or the new one; sectors that did not survive hold what was there before,
//   zeros, noise, or a block from elsewhere. Names created or removed since the last folder sync
//   survive or not, each by itself.
// - Kill: everything written survives, nothing more is durable than before; a write on its way may
//   have got only a part in.
// - Lying: a write that reports success is lost, torn (some blocks only), misdirected (another
//   place, another file) or has another bit, and no sync brings it. A read returns older bytes,
//   another place's, or a flipped bit.
// - Failing: reads, writes and syncs that answer with an error; a failed write may be there in
//   part; after a failed sync what was dirty may never reach the disk, whatever a later sync says.
// - Full: writes beyond capacity_bytes fail after a part.
// - Rot: bits that flip in place.
// A sync call site can be left out by name: it reports success and does nothing.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "src/base/prng.h"
#include "store/block_device.h"

namespace sluice::store {

inline constexpr uint64_t kSectorBytes = 512;

// Chances in 1000 of each call.
struct SimFaults {
  uint32_t lost_write = 0;
  uint32_t torn_write = 0;
  uint32_t misdirected_write = 0;
  uint32_t flipped_write = 0;  // a bit changed in memory, after everybody checked
  uint32_t write_error = 0;
  uint32_t sync_error = 0;  // of files
  uint32_t cut_error = 0;
  uint32_t folder_sync_error = 0;
  uint32_t stale_read = 0;
  uint32_t misdirected_read = 0;
  uint32_t flipped_read = 0;
  uint32_t read_error = 0;
};

// What a name stands for; shared with open handles.
struct SimContent {
  Bytes now;                   // what a read sees
  Bytes durable;               // what power loss leaves
  std::set<uint64_t> dirty;    // sectors of `now` that no sync has reached
  std::set<uint64_t> unsaved;  // that a failed sync left marked as clean: no later one writes them
  bool length_is_dirty = false;
  bool is_removed = false;  // its name is
};

class SimDevice final : public BlockDevice {
 public:
  explicit SimDevice(uint64_t seed) : prng_(seed) {}

  SimFaults faults;
  uint64_t capacity_bytes = ~0ull;
  uint64_t fail_next_writes = 0;     // so many fail in part
  uint64_t flip_read_in = 0;         // that read from now on, counted from 1, has a flipped bit
  uint64_t unreadable_from = ~0ull;  // offset in every file: reads that reach it fail
  uint64_t failed_reads = 0;
  bool keeps_names = false;          // no name can be removed
  std::optional<SyncSite> left_out;  // this site's syncs do nothing

  // The call after `calls` more that change anything is done in part, and from then on every call
  // fails until crash() or kill().
  void stop_after(uint64_t calls);

  bool is_stopped() const { return stopped_; }

  // Power loss: what is open then only fails.
  void crash();

  // The process ends, the machine goes on.
  void kill();

  // How often a site synced, left out or not.
  uint64_t syncs_of(SyncSite site) const { return syncs_[static_cast<size_t>(site)]; }

  // The names and contents, to look at and to damage (both `now` and `durable`).
  std::map<std::string, std::shared_ptr<SimContent>>& files() { return names_; }

  uint64_t total_bytes() const;

  // All files as they are now; and a device that has these, all durable.
  std::map<std::string, Bytes> image() const;
  void load(const std::map<std::string, Bytes>& image);

  // Flips a bit of a file in place.
  static void flip(SimContent& content, uint64_t at, uint8_t bit);

 private:
  friend class SimFile;
  using Names = std::map<std::string, std::shared_ptr<SimContent>>;

  Result<std::shared_ptr<BlockFile>> do_create(const std::string& name) override;
  Result<std::shared_ptr<BlockFile>> do_open(const std::string& name) override;
  Result<std::vector<std::string>> do_list() override;
  Status do_remove(const std::string& name) override;
  Status do_sync_folder(SyncSite site) override;

  std::string do_path_of(const std::string& name) const override { return "/sim/" + name; }

  bool chance(uint32_t of_1000) { return of_1000 != 0 && prng_.below(1000) < of_1000; }

  // Counts a call that changes something; false where the device is gone.
  bool count_change(bool& in_part);
  Status gone(uint64_t generation) const;

  Status read(SimContent& content, uint64_t offset, MutByteSpan out);
  Status write(SimContent& content, uint64_t offset, ByteSpan bytes);
  Status sync(SimContent& content, SyncSite site);
  Status truncate(SimContent& content, uint64_t bytes);

  void apply(SimContent& content, uint64_t offset, ByteSpan bytes);
  void apply_blocks(SimContent& content, uint64_t offset, ByteSpan bytes, bool prefix);
  SimContent& any_other(SimContent& content);
  void lose_unsynced(SimContent& content);
  void fill_lost_sector(SimContent& content, MutByteSpan sector, uint64_t at);

  std::mutex mutex_;
  Prng prng_;
  Names names_;
  Names durable_names_;
  uint64_t generation_ = 0;  // of handles; rises with each crash
  std::optional<uint64_t> calls_left_;
  bool stopped_ = false;
  std::array<uint64_t, kSyncSites> syncs_{};
};

}  // namespace sluice::store
