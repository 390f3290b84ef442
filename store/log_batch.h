// Records laid out in one piece of memory, ready for one write: room for each head, the body behind
// it, zeros to the end of the block. Heads are filled in by LogWriter, which knows where they go.
//
// What is checked is the copy: it is what will be written. One thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "store/block_device.h"
#include "store/log_format.h"
#include "store/record.h"

namespace sluice::store {

struct BatchRecord {
  LogEntry entry;  // offset and sequence once it was placed
  std::vector<SectionSum> sections;
  std::vector<RecordId> deleted;  // of a tombstone
  bool is_copy = false;           // of the record before it: no entry in the footer
  uint64_t at = 0;                // of its head, in the batch's memory
};

class LogBatch {
 public:
  // Takes over `memory`; it grows where a record needs more.
  explicit LogBatch(AlignedBuffer memory) : memory_(std::move(memory)) {}

  // Bytes that a page takes in the log.
  static uint64_t page_bytes(const Record& record) {
    return entry_of(EntryType::page, record).extent_bytes();
  }

  // Adds a page or descriptor. Errors: as verify(), the batch is as before then.
  Status add(EntryType type, const Record& record, ByteSpan bytes);

  // Adds a tombstone of up to kTombstoneKeysMax keys, twice.
  void add_tombstone(std::span<const RecordId> keys);

  // Adds a cut or a loss. Requires: `entry` has no body.
  void add_bare(LogEntry entry);

  std::vector<BatchRecord>& records() { return records_; }

  const std::vector<BatchRecord>& records() const { return records_; }

  // The extents, one after the other.
  MutByteSpan bytes() { return memory_.bytes().first(used_); }

  uint64_t used_bytes() const { return used_; }

  // The room of a record's head.
  MutByteSpan head(const BatchRecord& record) {
    return memory_.bytes().subspan(record.at, record.entry.head_bytes);
  }

  // Entries that the footer gets for this batch.
  uint64_t footer_entries() const;

  AlignedBuffer take_memory() && { return std::move(memory_); }

 private:
  MutByteSpan make_room(uint64_t bytes);
  MutByteSpan append(BatchRecord record, uint64_t body_bytes);

  AlignedBuffer memory_;
  uint64_t used_ = 0;
  std::vector<BatchRecord> records_;
};

}  // namespace sluice::store
