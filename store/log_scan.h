// Reads one segment: by its footer where that is whole, else record by record (FORMAT.md,
// Recovery).
//
// Not what the records mean to the index (log_recovery.h). Blocks; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "store/block_device.h"
#include "store/log_format.h"

namespace sluice::store {

// A file read front to back through a window, so that neither heads nor bodies are read one by one.
class FileWindow {
 public:
  // Reads at least `window_bytes` at once, where there are as many.
  FileWindow(BlockFile& file, uint64_t file_bytes, uint64_t window_bytes = 8 << 20)
      : file_(file), file_bytes_(file_bytes), window_bytes_(window_bytes) {}

  // `bytes` from `offset` on, valid until the next call. Where the window cannot be read, only what
  // was asked for is tried. Errors: truncated, io_error.
  Result<ByteSpan> view(uint64_t offset, uint64_t bytes);

  // Reads again what is asked for next, from the device.
  void forget() { filled_ = 0; }

  uint64_t file_bytes() const { return file_bytes_; }

 private:
  void slide_to(uint64_t offset);
  Status fill(uint64_t offset, uint64_t bytes);

  BlockFile& file_;
  uint64_t file_bytes_;
  uint64_t window_bytes_;
  AlignedBuffer memory_;
  uint64_t start_ = 0;   // in the file, of the memory's first byte
  uint64_t filled_ = 0;  // bytes of the memory that hold the file's
  // Up to here only what is asked for is read: a window over it failed, and a disk may try for
  // seconds.
  uint64_t careful_until_ = 0;
};

// A record whose head and body agree.
struct ScannedRecord {
  RecordHead head;
  ByteSpan body;
};

// The record at `offset`, checked whole; read again where it does not agree at first, unless none
// is expected there and nothing looks like one. Valid until the window's next call. Errors: as
// parse_head and verify; truncated, io_error.
Result<ScannedRecord> read_record(FileWindow& window,
                                  const LogPlace& place,
                                  bool is_expected = true);

// A place where no record could be read.
struct ScanGap {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::string reason;
};

struct ScanResult {
  std::vector<LogEntry> entries;  // as the footer has them
  uint64_t end = kBlockBytes;     // of the last record
  uint64_t last_ordinal = 0;
  std::vector<ScanGap> gaps;    // with records behind them
  std::optional<ScanGap> tail;  // without
  bool has_read_errors = false;
};

// Reads every record of a segment. `on_record` sees each one that agrees.
ScanResult scan_segment(FileWindow& window,
                        const SegmentHeader& segment,
                        const std::function<void(const ScannedRecord&)>& on_record);

// The last block of a sealed segment, read again where it does not agree at first. Errors: as
// parse_trailer; truncated, io_error.
Result<Trailer> read_trailer(BlockFile& file, uint64_t file_bytes, const SegmentHeader& segment);

// The entries of a sealed segment, read again likewise. Errors: as parse_footer; io_error.
Result<std::vector<LogEntry>> read_footer(BlockFile& file, const Trailer& trailer);

// Whether the bytes from result.end on are, or were before damage, the footer of these records.
bool resembles_footer(BlockFile& file, const SegmentHeader& segment, const ScanResult& result);

}  // namespace sluice::store
