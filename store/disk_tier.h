// The disk tier: records by (tenant, key) in an append-only log of segments (FORMAT.md).
//
// Not a page parser, and no policy: a full log drops its oldest segment whole. One thread owns the
// tier and gets all its answers; what blocks runs behind IoRunner. Writes wait in a bounded queue:
// when the disk is slower than what comes, writes are dropped and counted, nobody is slowed. Bytes
// are checked before they are written and at every read, against sums that lie beside them; what
// does not agree is never handed out.
//
// What survives a crash: a write that asked for `want_durable` and an erase, once their `done` came
// without error. What open() found is durable too.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/clock.h"
#include "src/base/result.h"
#include "store/block_device.h"
#include "store/disk_index.h"
#include "store/disk_queue.h"
#include "store/disk_read.h"
#include "store/io_runner.h"
#include "store/log_format.h"
#include "store/log_recovery.h"
#include "store/loss_lines.h"
#include "store/record.h"

namespace sluice::store {

enum class LineLevel : uint8_t { info, warning };

struct DiskTierConfig {
  uint64_t capacity_bytes = 64ull << 30;    // of all segments; at least 4 x segment_bytes
  uint64_t segment_bytes = 256ull << 20;    // 64 KiB..16 GiB, a multiple of 4 KiB
  uint64_t queue_bytes_max = 256ull << 20;  // of pages that wait to be written, 1 MiB..1 TiB
  uint64_t batch_bytes = 4ull << 20;        // written at once, 4 KiB..64 MiB; a longer record alone
  uint32_t reads_max = 4096;                // reads on their way, 1..65536: most wait for a thread
  uint64_t read_bytes_max = 256ull << 20;   // of these and of pages read that are still held
  uint64_t sync_interval_ms = 1000;  // what is written is durable this long after, at the next
                                     // write() or tick()
  uint32_t descriptors_max = 4096;   // of spaces, each up to 64 KiB; the oldest is forgotten
  std::optional<LogId> new_log_id;   // of a log that open() begins; nothing: drawn from the system
  // For the daemon's log: damage and what was lost are warnings, what a log does all the time is
  // not.
  std::function<void(LineLevel, std::string_view)> log_line;

  // Errors: bad_config.
  Status validate() const;
};

// A page in the log, as the index knows it.
struct DiskEntry {
  Record record;            // its rows, without its sections: these are read with the page
  uint64_t bytes = 0;       // header and sections
  bool is_durable = false;  // a crash does not lose it. Where not, write it again for an ack
};

struct DiskWrite {
  Record record;
  ByteSpan bytes;
  std::shared_ptr<const void> keep_alive;  // keeps `bytes` in place until done
  bool want_durable = false;  // done when a crash cannot lose it; else when it was written
};

// A page to be shortened.
struct DiskCut {
  uint32_t tenant = 0;
  Key key{};
  EncodingId encoding_id{};
  uint32_t rows = 0;  // that stay
};

// Gauges and counters since open().
struct DiskTierStats {
  uint64_t capacity_bytes = 0;
  uint64_t log_bytes = 0;  // of all segments
  uint64_t segments = 0;
  uint64_t records = 0;     // in the index
  uint64_t page_bytes = 0;  // of these
  uint64_t queued_bytes = 0;
  uint64_t reads_in_flight = 0;
  uint64_t hits = 0;               // reads answered with a page
  uint64_t misses = 0;             // reads of a key that is not there
  uint64_t reads_overloaded = 0;   // reads refused because too many were on their way
  uint64_t read_errors = 0;        // the device failed: out of the index until a restart
  uint64_t damaged = 0;            // pages that did not agree with their sums: gone from the index
  uint64_t written = 0;            // pages, tombstones and cuts in the log
  uint64_t written_bytes = 0;      // to the device
  uint64_t dropped_writes = 0;     // the queue was full and nobody waited for the ack
  uint64_t overloaded_writes = 0;  // the queue was full and somebody waited
  uint64_t refused_writes = 0;     // bytes that no longer agreed with their sums
  uint64_t failed_writes = 0;      // device full or failing
  uint64_t erased = 0;             // pages that a tombstone took out
  uint64_t evicted = 0;            // pages that went with their segment
  uint64_t dropped_segments = 0;
  uint64_t failed_segments = 0;  // given up after a failed write or sync
  uint64_t syncs = 0;
};

using DiskDone = std::function<void(Status)>;
using DiskReadDone = std::function<void(Result<DiskPage>)>;

// Every function that takes a `done`: where it returns an error, `done` is never called; else once,
// later, on the owner's thread, never from within the call. It may be empty. `done` may call the
// tier, not end it. When the tier ends first, `done` is destroyed uncalled.
class DiskTier {
 public:
  // Opens or begins the log in `device`; blocks until it is recovered. All three must outlive the
  // tier, and the runner must have stopped before the device ends. Errors: bad_config; bad_version
  // (a segment of a version that this build does not know; the text names the command that discards
  // it); bad_value (a segment of another log, or a name out of range); io_error, no_space.
  static Result<std::unique_ptr<DiskTier>> open(const DiskTierConfig& config,
                                                BlockDevice& device,
                                                IoRunner& runner,
                                                const Clock& clock);

  ~DiskTier();
  DiskTier(const DiskTier&) = delete;
  DiskTier& operator=(const DiskTier&) = delete;

  const RecoveryReport& recovery() const { return recovery_; }

  // The report's descriptors, once: the tier has its own.
  std::list<RecoveredDescriptor> take_descriptors() {
    return std::exchange(recovery_.descriptors, {});
  }

  // The page's metadata, or nothing. A write is found once it was written, not while it waits.
  std::optional<DiskEntry> find(uint32_t tenant, const Key& key) const;

  // Queues a page; a later one of its key replaces an earlier one. Checks it against its sums
  // before it is written. Errors, at once: too_large (more than half of the log, or than
  // kPageBytesMax), invalid_argument (bytes are not as long as the record says), overloaded (the
  // queue is full: the caller waits for an ack, or the write is dropped; either is counted).
  // done: bad_checksum (it no longer agrees with its sums), no_space, io_error.
  Status write(DiskWrite write, DiskDone done);

  // Keeps a space's descriptor beside its pages: in every segment that gets one of them. The same
  // one again costs nothing. Durable with the first page that asks for it. Errors: too_large,
  // overloaded.
  Status write_descriptor(uint32_t tenant, const Key& space_id, ByteSpan bytes);

  // Reads a page whole and checks it, a second time where it does not agree at first. Its memory
  // counts against read_bytes_max until keep_alive is dropped. Errors, at once: not_found,
  // overloaded. done: damaged (it is out of the index then, also after a restart, and named in the
  // daemon's log), io_error (the same, but a restart tries it again), not_found (erased, or dropped
  // with its segment meanwhile).
  Status read(uint32_t tenant, const Key& key, DiskReadDone done);

  // The same of what is wanted of a page: only the blocks that hold it are read, only it is
  // checked. Errors: as read(); at once also invalid_argument (rows or sections that the page does
  // not have).
  Status read(uint32_t tenant, const Key& key, RecordPart part, DiskReadDone done);

  // Takes pages out at once, also those whose write waits; done when a crash cannot bring them
  // back. Keys that are not there are fine. Errors, at once: too_large (more than kKeysMax, or than
  // half the log takes), overloaded. done: no_space, io_error (a restart may bring them back).
  Status erase(std::span<const RecordId> keys, DiskDone done);

  // Takes the last rows of a page away; done when no crash brings them back. Errors, at once:
  // not_found (no such page, or another encoding of it), invalid_argument (no row would stay, or
  // none go), overloaded. done: not_found (gone meanwhile, or as short already), no_space,
  // io_error.
  Status cut(const DiskCut& cut, DiskDone done);

  // Done when all that was accepted before is durable, or is reported to have failed by its own
  // `done`: a page that waited for no ack may be lost while this says ok; find() tells.
  void commit(DiskDone done);

  // As commit(), and ends the segment with its footer, so that the next open() need not scan. For a
  // daemon that stops.
  void drain(DiskDone done);

  // To be called every sync_interval_ms or so: syncs what has waited that long.
  void tick();

  DiskTierStats stats() const;

 private:
  // Somebody who waits until what was written with this sequence is durable.
  struct Waiter {
    uint64_t sequence = 0;
    DiskDone done;
  };

  using Answers = std::vector<std::pair<DiskDone, Status>>;

  DiskTier(const DiskTierConfig& config, BlockDevice& device, IoRunner& runner, const Clock& clock);

  Status recover();
  // Runs `work` on a lane and `done` here, unless the tier ends first.
  void run(Lane lane, std::function<void()> work, std::function<void()> done);
  Error queue_full() const;
  void push(DiskOp op);
  void pump();
  void start_job();
  void submit(const std::shared_ptr<DiskJob>& job);
  void finish(const std::shared_ptr<DiskJob>& job);
  bool wants_sync(const DiskJob& job) const;
  void take_segments(const WriteReport& report);
  void take_op(DiskOp& op, const DiskJob& job, Answers& answers);
  Status take_written(const DiskOp& op, const LogEntry& entry);
  void settle_waiters(const WriteReport& report, Answers& answers);
  void settle_dirt(const DiskJob& job);

  bool is_dirty() const { return last_sequence_ > durable_sequence_; }

  std::optional<RecordId> remember_space(const RecordId& space);
  Status check_write(const DiskWrite& write) const;
  Result<std::shared_ptr<ReadJob>> begin_read(const IndexEntry& entry, RecordPart part);
  void finish_read(const std::shared_ptr<ReadJob>& job);
  void take_out_unread(const ReadJob& job);
  void queue_loss(const IndexEntry& entry);
  void tell_losses(const DiskJob& job);
  void log_line(LineLevel level, std::string_view line) const;

  void warn(std::string_view line) const { log_line(LineLevel::warning, line); }

  const DiskTierConfig config_;
  const std::shared_ptr<BufferPool> buffers_;
  const uint64_t batch_bytes_;  // no more than a quarter of a segment
  BlockDevice& device_;
  IoRunner& runner_;
  const Clock& clock_;
  RecoveryReport recovery_;
  LogId log_id_{};
  DiskIndex index_;
  std::shared_ptr<LogWriter> writer_;  // only work on the write lane touches it
  std::set<RecordId> described_;
  std::deque<RecordId> described_order_;  // the oldest first

  std::deque<DiskOp> queue_;
  uint64_t queued_bytes_ = 0;  // charged for ops in the queue and in jobs
  uint64_t next_ticket_ = 1;
  uint32_t jobs_staging_ = 0;
  uint32_t jobs_writing_ = 0;
  std::vector<AlignedBuffer> spare_memory_;
  std::vector<Waiter> waiters_;
  bool is_sync_owed_ = false;  // a job that somebody waits for went to the lane without a sync
  std::unordered_map<RecordId, uint64_t, RecordIdHash>
      erases_;  // keys in queued tombstones: the last ticket

  uint64_t last_sequence_ = 0;  // written
  uint64_t durable_sequence_ = 0;
  uint64_t unsynced_bytes_ = 0;
  uint64_t dirty_since_ns_ = 0;

  std::set<std::shared_ptr<ReadJob>> reads_;
  LossLines loss_lines_;
  DiskTierStats stats_;  // counters; gauges are filled in by stats()
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::store
