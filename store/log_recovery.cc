#include "store/log_recovery.h"

#include <algorithm>
#include <optional>
#include <set>

#include "store/log_scan.h"

namespace sluice::store {

namespace {

// A segment's file before it is read.
struct Candidate {
  uint64_t number = 0;
  std::shared_ptr<BlockFile> file;
  uint64_t bytes = 0;
  std::optional<SegmentHeader> header;
  std::optional<Error> header_error;
};

class Recovery {
 public:
  Recovery(BlockDevice& device, DiskIndex& index, RecoveryReport& report)
      : device_(device), index_(index), report_(report) {}

  Result<RecoveredLog> run();

 private:
  Status find_segments();
  Status read_header(Candidate& candidate);
  static std::optional<LogId> id_without_header(const Candidate& candidate);
  Result<std::optional<LogId>> log_id() const;
  Status check_log_ids() const;
  void recover_segment(Candidate& candidate);
  void take_footer(Candidate& candidate, const std::vector<LogEntry>& entries);
  void scan(Candidate& candidate);
  bool sync(Candidate& candidate);
  void seal(Candidate& candidate, const ScanResult& found);
  void drop_empty(const Candidate& candidate);
  void apply(const LogEntry& entry);
  void take_descriptor(const ScannedRecord& record);
  void line(std::string text);
  void describe(const Candidate& candidate, const ScanResult& found);

  BlockDevice& device_;
  DiskIndex& index_;
  RecoveryReport& report_;
  std::vector<Candidate> candidates_;  // ascending
  LogId log_id_{};
  RecoveredLog out_;
  std::set<RecordId> described_;
};

void Recovery::line(std::string text) {
  if (report_.lines.size() < kRecoveryLinesMax) {
    report_.lines.push_back(std::move(text));
  }
}

Status Recovery::find_segments() {
  SLUICE_TRY(std::vector<std::string> names, device_.list());
  for (const std::string& name : names) {
    std::optional<uint64_t> number = segment_number(name);
    if (!number) {
      continue;
    }
    if (*number == 0 || *number > kSegmentNumberMax) {
      return SLUICE_ERR(Errc::bad_value,
                        "{}: segment numbers are 1 to {}; discard it with: rm {}",
                        name,
                        kSegmentNumberMax,
                        device_.path_of(name));
    }
    Candidate candidate{.number = *number};
    SLUICE_TRY(candidate.file, device_.open(name));
    SLUICE_TRY(candidate.bytes, candidate.file->size());
    SLUICE_CHECK(read_header(candidate));
    out_.next_number = std::max(out_.next_number, *number + 1);
    candidates_.push_back(std::move(candidate));
  }
  return {};
}

Status Recovery::read_header(Candidate& candidate) {
  AlignedBuffer block(kBlockBytes);
  auto read = [&]() -> Result<SegmentHeader> {
    SLUICE_CHECK(candidate.file->read(0, block.bytes()));
    return parse_segment_header(block.bytes());
  };
  Result<SegmentHeader> header = read();
  if (header.has_error()) {
    header = read();  // damage on the way is gone the second time
  }
  std::string name = segment_name(candidate.number);
  if (header.has_error() && header.error().code == Errc::bad_version) {
    return SLUICE_ERR(Errc::bad_version,
                      "{}: {}; start the version that wrote it, or discard the log with: rm {}",
                      name,
                      header.error().text,
                      device_.path_of("*.seg"));
  }
  if (header.has_error()) {
    candidate.header_error = header.error();
  } else if (header->number != candidate.number) {
    candidate.header_error = SLUICE_ERR(
        Errc::bad_value, "it is the header of segment {:016x}: misdirected", header->number);
  } else {
    candidate.header = *header;
  }
  return {};
}

// The id in a trailer, or else in any record, that says where it stands.
std::optional<LogId> Recovery::id_without_header(const Candidate& candidate) {
  if (candidate.bytes < 2 * kBlockBytes) {
    return {};
  }
  AlignedBuffer block(kBlockBytes);
  uint64_t last = (candidate.bytes / kBlockBytes - 1) * kBlockBytes;
  std::optional<LogId> id;
  if (candidate.file->read(last, block.bytes()).has_value() && (id = peek_log_id(block.bytes())) &&
      parse_trailer(block.bytes(), {.log_id = *id, .number = candidate.number}, candidate.bytes)
          .has_value()) {
    return id;
  }
  FileWindow window(*candidate.file, candidate.bytes);
  for (uint64_t at = kBlockBytes; at + kBlockBytes <= candidate.bytes; at += kBlockBytes) {
    auto there = window.view(at, kBlockBytes);
    if (there.has_value() && (id = peek_log_id(*there)) &&
        read_record(window, {*id, candidate.number, at}, false).has_value()) {
      return id;
    }
  }
  return {};
}

// The id that most headers have, of equally many the one of the highest number. Errors: io_error
// (there is a log whose id cannot be read: a new one beside it would keep it from being read ever).
Result<std::optional<LogId>> Recovery::log_id() const {
  std::map<LogId, uint64_t> votes;
  std::optional<LogId> best;
  for (const Candidate& candidate : candidates_) {
    if (candidate.header) {
      const LogId& id = candidate.header->log_id;
      ++votes[id];
      if (!best || votes[id] >= votes[*best]) {
        best = id;
      }
    }
  }
  for (const Candidate& candidate : candidates_) {
    best = best ? best : id_without_header(candidate);
  }
  for (const Candidate& candidate : candidates_) {
    if (!best && candidate.header_error && candidate.header_error->code == Errc::io_error) {
      return SLUICE_ERR(Errc::io_error,
                        "no segment's header can be read: {}; mend the disk, or discard the log "
                        "with: rm {}",
                        candidate.header_error->text,
                        device_.path_of("*.seg"));
    }
  }
  return best;
}

Status Recovery::check_log_ids() const {
  for (const Candidate& candidate : candidates_) {
    if (candidate.header && candidate.header->log_id != log_id_) {
      std::string path = device_.path_of(segment_name(candidate.number));
      return SLUICE_ERR(Errc::bad_value,
                        "{} is of log {}, the others are of {}; move it away, or discard it with: "
                        "rm {}",
                        path,
                        to_hex(candidate.header->log_id),
                        to_hex(log_id_),
                        path);
    }
  }
  return {};
}

void Recovery::apply(const LogEntry& entry) {
  switch (entry.type) {
    case EntryType::page:
      index_.insert(entry, ~0ull);
      return;
    case EntryType::tombstone:
      index_.erase(entry.tenant, entry.key);
      ++report_.tombstones;
      return;
    case EntryType::cut:
      report_.cuts += index_.cut(entry);
      return;
    case EntryType::descriptor:
      return;
  }
}

void Recovery::take_descriptor(const ScannedRecord& record) {
  const LogEntry& entry = record.head.entry;
  if (described_.insert({entry.tenant, entry.key}).second) {
    report_.descriptors.push_back({.tenant = entry.tenant,
                                   .space_id = entry.key,
                                   .bytes = Bytes(record.body.begin(), record.body.end())});
  }
}

// Takes the footer's word; only descriptors are read now.
void Recovery::take_footer(Candidate& candidate, const std::vector<LogEntry>& entries) {
  FileWindow window(*candidate.file, candidate.bytes, 0);
  for (const LogEntry& entry : entries) {
    apply(entry);
    if (entry.type != EntryType::descriptor || described_.contains({entry.tenant, entry.key})) {
      continue;
    }
    auto record = read_record(window, {log_id_, candidate.number, entry.offset});
    if (record.has_value() && record->head.entry == entry) {
      take_descriptor(*record);
    } else {
      ++report_.damaged;
      line(fmt::format("segment {:016x} offset {}: a descriptor is damaged: {}",
                       candidate.number,
                       entry.offset,
                       record.has_error() ? record.error().to_string() : "another record"));
    }
  }
}

void Recovery::describe(const Candidate& candidate, const ScanResult& found) {
  report_.damaged += found.gaps.size();
  for (const ScanGap& gap : found.gaps) {
    line(fmt::format("segment {:016x} offset {}: {} bytes are damaged and passed over: {}",
                     candidate.number,
                     gap.offset,
                     gap.bytes,
                     gap.reason));
  }
  if (found.tail) {
    ++report_.dropped_tails;
    line(fmt::format("segment {:016x} offset {}: the last {} bytes are no whole record and {}: {}",
                     candidate.number,
                     found.tail->offset,
                     found.tail->bytes,
                     found.has_read_errors ? "left alone" : "dropped",
                     found.tail->reason));
  }
}

// A segment without a record: removed where it is known to have had none, or none that a crash
// left. What may be another's, or may be read once its damage is mended, is left alone.
void Recovery::drop_empty(const Candidate& candidate) {
  if (!candidate.header && candidate.bytes >= 2 * kBlockBytes) {
    line(
        fmt::format("segment {:016x}: no record can be read in its {} bytes; left alone and of no "
                    "use: give it its own name again, or discard it with: rm {}",
                    candidate.number,
                    candidate.bytes,
                    device_.path_of(segment_name(candidate.number))));
    return;
  }
  Status status = device_.remove(segment_name(candidate.number));
  if (status.has_error()) {
    out_.segments[candidate.number] = candidate.bytes;
  }
  line(fmt::format("segment {:016x}: {} bytes without a record: {}",
                   candidate.number,
                   candidate.bytes,
                   status.has_error() ? "stays: " + status.error().to_string() : "removed"));
}

// Cuts off the tail and writes the footer. A device that refuses leaves the segment without.
void Recovery::seal(Candidate& candidate, const ScanResult& found) {
  AlignedBuffer tail(sealed_tail_bytes(found.entries.size()));
  encode_sealed_tail(
      {.log_id = log_id_, .number = candidate.number}, found.end, found.entries, tail.bytes());
  Status status = candidate.file->truncate(found.end);
  if (status.has_value()) {
    candidate.bytes = found.end;
    status = candidate.file->write(found.end, tail.bytes());
  }
  if (status.has_value()) {
    candidate.bytes = found.end + tail.size();
    out_.segments[candidate.number] = candidate.bytes;
  } else {
    line(fmt::format("segment {:016x} stays without a footer: {}",
                     candidate.number,
                     status.error().to_string()));
  }
}

void Recovery::scan(Candidate& candidate) {
  ++report_.scanned_segments;
  if (!candidate.header && candidate.bytes >= kBlockBytes) {
    ++report_.damaged;
    line(fmt::format("segment {:016x} offset 0: the header is damaged: {}",
                     candidate.number,
                     candidate.header_error->to_string()));
  }
  FileWindow window(*candidate.file, candidate.bytes);
  ScanResult found = scan_segment(
      window, {.log_id = log_id_, .number = candidate.number}, [&](const ScannedRecord& record) {
        if (record.head.entry.type == EntryType::descriptor) {
          take_descriptor(record);
        }
      });
  describe(candidate, found);
  if (found.entries.empty() && !found.has_read_errors) {
    drop_empty(candidate);
    return;
  }
  // A footer says that the records before it are durable.
  if (sync(candidate) && !found.has_read_errors) {
    seal(candidate, found);
  }
  std::for_each(found.entries.begin(), found.entries.end(), [&](const LogEntry& e) { apply(e); });
}

// Takes the segment in and makes durable what it has; false, with a line, if the device refuses.
bool Recovery::sync(Candidate& candidate) {
  index_.add_segment(candidate.number, candidate.file);
  out_.segments[candidate.number] = candidate.bytes;
  Status status = candidate.file->sync(SyncSite::recovered_segment);
  if (status.has_error()) {
    line(fmt::format(
        "segment {:016x} is not durable: {}", candidate.number, status.error().to_string()));
    index_.mark_not_durable(candidate.number);
  }
  return status.has_value();
}

void Recovery::recover_segment(Candidate& candidate) {
  if (candidate.header) {
    auto entries = read_footer(*candidate.file, candidate.bytes, *candidate.header);
    if (entries.has_error() && entries.error().code != Errc::bad_magic) {
      entries = read_footer(*candidate.file, candidate.bytes, *candidate.header);
    }
    if (entries.has_value()) {
      // The process may have ended before anybody synced.
      sync(candidate);
      take_footer(candidate, *entries);
      return;
    }
  }
  scan(candidate);
}

Result<RecoveredLog> Recovery::run() {
  SLUICE_CHECK(find_segments());
  report_.segments = candidates_.size();
  SLUICE_TRY(out_.log_id, log_id());
  log_id_ = out_.log_id.value_or(LogId{});
  SLUICE_CHECK(check_log_ids());
  for (Candidate& candidate : candidates_) {
    recover_segment(candidate);
    candidate.file.reset();
  }
  SLUICE_CHECK(device_.sync_folder(SyncSite::recovered_folder));
  for (const auto& [number, bytes] : out_.segments) {
    report_.log_bytes += bytes;
  }
  report_.records = index_.records();
  report_.page_bytes = index_.page_bytes();
  return std::move(out_);
}

}  // namespace

Result<RecoveredLog> recover_log(BlockDevice& device, DiskIndex& index, RecoveryReport& report) {
  return Recovery(device, index, report).run();
}

}  // namespace sluice::store
