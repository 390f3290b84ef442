#include "store/log_scan.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <system_error>

namespace sluice::store {

namespace {

// Blocks that cannot be read before the rest of a segment is left alone: each may cost seconds.
constexpr int kReadErrorsMax = 64;

// The footer's entries of a record.
void add_entries(const ScannedRecord& record, std::vector<LogEntry>& entries) {
  const LogEntry& entry = record.head.entry;
  if (entry.type != EntryType::tombstone) {
    entries.push_back(entry);
    return;
  }
  // A copy says what the one before it said.
  if (!entries.empty() && entries.back().type == EntryType::tombstone &&
      entries.back().encoding_id == entry.encoding_id) {
    return;
  }
  auto keys = parse_deleted(record.body);
  if (keys.has_error()) {
    return;
  }
  for (const RecordId& deleted : *keys) {
    entries.push_back(entry);
    entries.back().tenant = deleted.tenant;
    entries.back().key = deleted.key;
  }
}

Result<ScannedRecord> read_record_once(FileWindow& window, const LogPlace& place) {
  SLUICE_TRY(ByteSpan block, window.view(place.offset, kBlockBytes));
  SLUICE_TRY(uint64_t head_bytes, peek_head_bytes(block, place));
  SLUICE_TRY(ByteSpan head, window.view(place.offset, round_up_to_block(head_bytes)));
  ScannedRecord record;
  SLUICE_TRY(record.head, parse_head(head, place));
  const LogEntry& entry = record.head.entry;
  SLUICE_TRY(ByteSpan extent, window.view(place.offset, entry.extent_bytes()));
  record.body = extent.subspan(entry.head_bytes, entry.body_bytes());
  if (entry.has_body()) {
    SLUICE_CHECK(verify(record.head.record(), record.body));
  }
  return record;
}

bool starts_record(FileWindow& window, const LogPlace& place) {
  auto block = window.view(place.offset, kBlockBytes);
  return block.has_value() && peek_head_bytes(*block, place).has_value();
}

// Two reads at once keep a device busier than one; short ones are not worth a thread. Where there
// is none to be had, one after the other.
Status read_halves(BlockFile& file, uint64_t offset, MutByteSpan out) {
  constexpr uint64_t kWorthBytes = 2 << 20;
  if (out.size() < kWorthBytes) {
    return file.read(offset, out);
  }
  const uint64_t half = round_up_to_block(out.size() / 2);
  auto read_second = [&] { return file.read(offset + half, out.subspan(half)); };
  std::future<Status> second;
  try {
    second = std::async(std::launch::async, read_second);
  } catch (const std::system_error&) {
    second = std::async(std::launch::deferred, read_second);
  }
  Status first = file.read(offset, out.first(half));
  Status rest = second.get();
  return first.has_error() ? first : rest;
}

}  // namespace

Status FileWindow::fill(uint64_t offset, uint64_t bytes) {
  if (memory_.size() < bytes) {
    memory_ = AlignedBuffer(std::max(bytes, std::min(window_bytes_, file_bytes_)));
    filled_ = 0;
  }
  SLUICE_CHECK(
      read_halves(file_, offset + filled_, memory_.bytes().subspan(filled_, bytes - filled_)));
  start_ = offset;
  filled_ = bytes;
  return {};
}

// Keeps what the window already has from `offset` on.
void FileWindow::slide_to(uint64_t offset) {
  if (offset < start_ || offset >= start_ + filled_) {
    filled_ = 0;
  } else {
    filled_ -= offset - start_;
    std::memmove(memory_.bytes().data(), memory_.bytes().data() + (offset - start_), filled_);
  }
  start_ = offset;
}

Result<ByteSpan> FileWindow::view(uint64_t offset, uint64_t bytes) {
  if (offset > file_bytes_ || bytes > file_bytes_ - offset) {
    return SLUICE_ERR(Errc::truncated,
                      "the file ends at {}, needed are {} bytes from {}",
                      file_bytes_,
                      bytes,
                      offset);
  }
  if (offset < start_ || offset + bytes > start_ + filled_) {
    slide_to(offset);
    uint64_t left = (file_bytes_ - offset) / kBlockBytes * kBlockBytes;
    uint64_t whole = std::max(round_up_to_block(bytes), std::min(window_bytes_, left));
    const bool is_careful = offset < careful_until_;
    if (is_careful || whole > left || fill(offset, whole).has_error()) {
      careful_until_ = std::max(careful_until_, is_careful ? 0 : offset + whole);
      filled_ = 0;
      SLUICE_CHECK(fill(offset, round_up_to_block(bytes)));
    }
  }
  return ByteSpan(memory_.bytes()).subspan(offset - start_, bytes);
}

Result<ScannedRecord> read_record(FileWindow& window, const LogPlace& place, bool is_expected) {
  auto record = read_record_once(window, place);
  if (record.has_error() && (is_expected || starts_record(window, place))) {
    window.forget();  // damage on the way is gone the second time
    record = read_record_once(window, place);
  }
  return record;
}

ScanResult scan_segment(FileWindow& window,
                        const SegmentHeader& segment,
                        const std::function<void(const ScannedRecord&)>& on_record) {
  ScanResult out;
  std::optional<ScanGap> gap;
  int read_errors = 0;
  for (uint64_t at = kBlockBytes; at + kBlockBytes <= window.file_bytes();) {
    auto record = read_record(window, {segment.log_id, segment.number, at}, !gap);
    uint64_t ordinal = record.has_value() ? record->head.entry.sequence & kOrdinalMax : 0;
    if (record.has_value() && ordinal > out.last_ordinal) {
      if (gap) {
        gap->bytes = at - gap->offset;
        out.gaps.push_back(*std::exchange(gap, {}));
      }
      add_entries(*record, out.entries);
      on_record(*record);
      out.last_ordinal = ordinal;
      at += record->head.entry.extent_bytes();
      out.end = at;
      continue;
    }
    if (!gap) {
      gap = ScanGap{.offset = at,
                    .reason = record.has_error()
                                  ? record.error().to_string()
                                  : fmt::format("stale: ordinal {}, expected more than {}",
                                                ordinal,
                                                out.last_ordinal)};
    }
    if (record.has_error() && record.error().code == Errc::io_error) {
      out.has_read_errors = true;
      if (++read_errors == kReadErrorsMax) {
        break;
      }
    }
    at += kBlockBytes;
  }
  if (gap) {
    gap->bytes = window.file_bytes() - gap->offset;
  } else if (out.end < window.file_bytes()) {
    gap = ScanGap{.offset = out.end,
                  .bytes = window.file_bytes() - out.end,
                  .reason = "truncated: less than a block"};
  }
  out.tail = std::move(gap);
  return out;
}

Result<Trailer> read_trailer(BlockFile& file, uint64_t file_bytes, const SegmentHeader& segment) {
  if (file_bytes < 2 * kBlockBytes || file_bytes % kBlockBytes != 0) {
    return SLUICE_ERR(Errc::truncated, "a file of {} bytes has no trailer", file_bytes);
  }
  AlignedBuffer block(kBlockBytes);
  auto read = [&]() -> Result<Trailer> {
    SLUICE_CHECK(file.read(file_bytes - kBlockBytes, block.bytes()));
    return parse_trailer(block.bytes(), segment, file_bytes);
  };
  Result<Trailer> trailer = read();
  return trailer.has_error() ? read() : trailer;
}

Result<std::vector<LogEntry>> read_footer(BlockFile& file, const Trailer& trailer) {
  AlignedBuffer footer(trailer.footer_bytes);
  auto read = [&]() -> Result<std::vector<LogEntry>> {
    if (footer.size() != 0) {
      SLUICE_CHECK(file.read(trailer.footer_offset, footer.bytes()));
    }
    return parse_footer(ByteSpan(footer.bytes()).first(trailer.footer_bytes), trailer);
  };
  Result<std::vector<LogEntry>> entries = read();
  return entries.has_error() ? read() : entries;
}

// Most of what a footer has beside zeros are hashes: nothing else has half of them in their places.
bool resembles_footer(BlockFile& file, const SegmentHeader& segment, const ScanResult& result) {
  AlignedBuffer expected(sealed_tail_bytes(result.entries.size()));
  AlignedBuffer found(expected.size());
  if (!result.tail || result.tail->bytes != expected.size() ||
      file.read(result.end, found.bytes()).has_error()) {
    return false;
  }
  encode_sealed_tail(segment, result.end, result.entries, expected.bytes());
  uint64_t set = 0;
  uint64_t equal = 0;
  for (uint64_t i = 0; i < expected.size(); ++i) {
    const bool is_set = expected.bytes()[i] != 0;
    set += is_set ? 1 : 0;
    equal += is_set && expected.bytes()[i] == found.bytes()[i] ? 1 : 0;
  }
  return equal > set / 2;
}

}  // namespace sluice::store
