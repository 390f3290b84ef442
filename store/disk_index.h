// Which record of the log counts for each (tenant, key), and in which segment it lies.
//
// Not the section sums: they are read with the page. 312 bytes a page (disk_index_test). Records
// have to be added in the order of their sequences. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "store/block_device.h"
#include "store/log_format.h"
#include "store/record.h"

namespace sluice::store {

struct IndexSegment;

// A page that counts.
struct IndexEntry {
  LogEntry log;  // of the page's record, shortened by the cuts that came after it
  IndexSegment* segment = nullptr;
  IndexEntry* next = nullptr;  // in the segment
  IndexEntry* previous = nullptr;
};

// A segment and the pages in it that count.
struct IndexSegment {
  uint64_t number = 0;
  std::shared_ptr<BlockFile> file;
  bool has_failed = false;
  uint64_t durable_sequence = 0;  // of a failed one: what stands behind is not durable
  IndexEntry* first = nullptr;
};

class DiskIndex {
 public:
  void add_segment(uint64_t number, std::shared_ptr<BlockFile> file);

  // Takes a segment out with its pages; returns how many these were. Fine where it is not there.
  uint64_t drop_segment(uint64_t number);

  // A segment keeps only what stands up to `durable_sequence`; what that had replaced counts again.
  // Returns how many pages went.
  uint64_t fail_segment(uint64_t number, uint64_t durable_sequence);

  // Nothing in the segment is durable, though it can be read.
  void mark_not_durable(uint64_t number);

  // The page counts from now on. One that it replaces is kept in mind where only that one is
  // durable: all up to `durable_sequence` is. Requires: its segment is there.
  void insert(const LogEntry& page, uint64_t durable_sequence);

  // All that counts is durable: what it replaced is forgotten.
  void forget_replaced() { replaced_.clear(); }

  // Whether a crash leaves the page.
  static bool is_durable(const IndexEntry& entry, uint64_t durable_sequence) {
    const IndexSegment& segment = *entry.segment;
    return entry.log.sequence <= (segment.has_failed ? segment.durable_sequence : durable_sequence);
  }

  // The cut counts if it fits what is there; false if not.
  bool cut(const LogEntry& cut);

  // The page is lost; what it had replaced counts again, unless the page was durable: all up to
  // `durable_sequence` is. Requires: it is there.
  void lose(uint32_t tenant, const Key& key, uint64_t durable_sequence);

  // False if there is no such page.
  bool erase(uint32_t tenant, const Key& key);

  // The same of one record: false also where another one counts.
  bool erase_record(uint32_t tenant, const Key& key, uint64_t sequence);

  // Valid until the next call that changes the index.
  const IndexEntry* find(uint32_t tenant, const Key& key) const;

  size_t records() const { return entries_.size(); }

  size_t segments() const { return segments_.size(); }

  uint64_t page_bytes() const { return page_bytes_; }

 private:
  void put(const RecordId& id, const LogEntry& page);
  void take_out(const RecordId& id);
  void link(IndexEntry& entry, IndexSegment& segment);
  void unlink(IndexEntry& entry);

  std::unordered_map<RecordId, IndexEntry, RecordIdHash> entries_;
  std::map<uint64_t, IndexSegment> segments_;
  // Pages that count again if the ones that replaced them, not durable yet, are lost.
  std::unordered_map<RecordId, LogEntry, RecordIdHash> replaced_;
  uint64_t page_bytes_ = 0;
};

}  // namespace sluice::store
