#include "store/log_recovery.h"

#include <algorithm>

#include "store/log_recovery_run.h"

namespace sluice::store {

namespace {

constexpr size_t kGapTextBytesMax = 400;  // of one line: where a device failed there may be many

}  // namespace

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
    out_.next_number = std::max(out_.next_number, *number + 1);
    Candidate candidate{.number = *number};
    auto file = device_.open(name);
    if (file.has_error() && file.error().code == Errc::bad_value) {
      line(
          fmt::format("{}; it is not looked at: put the segment's own file there and start again, "
                      "or take it away",
                      file.error().text));
      continue;
    }
    SLUICE_TRY(candidate.file, std::move(file));
    SLUICE_TRY(candidate.bytes, candidate.file->size());
    SLUICE_CHECK(read_header(candidate));
    candidates_.push_back(std::move(candidate));
  }
  return {};
}

// What each segment's header proves of the one before.
void Recovery::take_proofs() {
  for (size_t i = 1; i < candidates_.size(); ++i) {
    Candidate& before = candidates_[i - 1];
    if (candidates_[i].header && before.number + 1 == candidates_[i].number) {
      before.durable_sequence = candidates_[i].header->previous_durable;
    }
  }
}

// Numbers that are not there between others that are. A segment that never had anything durable
// leaves such a gap too, and nothing tells the two apart.
void Recovery::tell_gaps() {
  std::string gaps;
  for (size_t i = 1; i < candidates_.size(); ++i) {
    const uint64_t first = candidates_[i - 1].number + 1;
    const uint64_t last = candidates_[i].number - 1;
    if (first <= last && gaps.size() < kGapTextBytesMax) {
      gaps += fmt::format("{}{:016x}", gaps.empty() ? "" : ", ", first);
      gaps += first == last ? "" : fmt::format(" to {:016x}", last);
    }
  }
  if (!gaps.empty()) {
    line(
        fmt::format("{}: of the segments {} there is no file: if somebody took them away, their "
                    "pages are gone and what was deleted may be back: put them back and start "
                    "again; if the device failed or was full meanwhile, they had nothing to lose",
                    device_.path_of("*.seg"),
                    gaps));
  }
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
    case EntryType::loss:
      report_.losses += index_.erase_record(entry.tenant, entry.key, entry.bytes);
      return;
    case EntryType::descriptor:
      return;
  }
}

Result<RecoveredLog> Recovery::run() {
  SLUICE_CHECK(find_segments());
  report_.segments = candidates_.size();
  SLUICE_TRY(out_.log_id, log_id());
  log_id_ = out_.log_id.value_or(LogId{});
  SLUICE_CHECK(check_log_ids());
  take_proofs();
  tell_gaps();
  for (Candidate& candidate : candidates_) {
    out_.last_whole.reset();
    recover_segment(candidate);
    candidate.file.reset();
  }
  if (out_.last_whole && out_.last_whole->number + 1 != out_.next_number) {
    out_.last_whole.reset();  // its next sequences could be lower than some that were seen
  }
  SLUICE_CHECK(device_.sync_folder(SyncSite::recovered_folder));
  for (const auto& [number, bytes] : out_.segments) {
    report_.log_bytes += bytes;
  }
  report_.records = index_.records();
  return std::move(out_);
}

Result<RecoveredLog> recover_log(BlockDevice& device,
                                 uint32_t descriptors_max,
                                 DiskIndex& index,
                                 RecoveryReport& report) {
  return Recovery(device, descriptors_max, index, report).run();
}

}  // namespace sluice::store
