// One read of a page from the log, or of parts of it: position, head and sums checked before
// anything is shown.
//
// Not the index (disk_index.h). read_page() blocks and runs on the runner's read lane; nothing else
// touches a job meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "store/block_device.h"
#include "store/buffer_pool.h"
#include "store/log_format.h"
#include "store/record.h"

namespace sluice::store {

// A page, or what was wanted of it, as it was read and checked just now.
struct DiskPage {
  Record record;   // with its sections; ends after the last row that was wanted
  ByteSpan bytes;  // as long as the record; header and wanted sections are there
  std::shared_ptr<const void> keep_alive;  // keeps `bytes` in place
};

struct ReadJob {
  std::shared_ptr<BlockFile> file;
  std::shared_ptr<AlignedBuffer> memory;  // memory_bytes() or more
  LogPlace place;
  LogEntry entry;  // as the index has it: the record in the log is longer where it was cut
  RecordPart part;

  bool is_cancelled = false;  // erased meanwhile; the owner's

  // What came of it: damaged (the text says what does not agree), not_found (its segment was
  // dropped), io_error.
  Result<DiskPage> page = DiskPage();

  // Of the record, up to the end of its last wanted row.
  uint64_t record_bytes() const { return entry.rows.ends[part.rows - 1].end; }

  // Bytes that the read needs in memory.
  uint64_t memory_bytes() const { return round_up_to_block(entry.head_bytes + record_bytes()); }
};

// Reads and checks; a second time where it does not agree at first.
void read_page(ReadJob& job);

}  // namespace sluice::store
