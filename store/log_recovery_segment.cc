// What recovery makes of one segment (FORMAT.md, Recovery).
#include <algorithm>
#include <utility>

#include "store/log_recovery_run.h"

namespace sluice::store {

// Whether the descriptor's space is known already; it is the newest then.
bool Recovery::knows_space(const LogEntry& descriptor) {
  auto known = described_.find({descriptor.tenant, descriptor.key});
  if (known == described_.end()) {
    return false;
  }
  std::list<RecoveredDescriptor>& all = report_.descriptors;
  all.splice(all.end(), all, known->second);
  return true;
}

void Recovery::take_descriptor(const ScannedRecord& record) {
  const LogEntry& entry = record.head.entry;
  if (knows_space(entry)) {
    return;
  }
  std::list<RecoveredDescriptor>& all = report_.descriptors;
  if (all.size() == descriptors_max_) {
    described_.erase({all.front().tenant, all.front().space_id});
    all.pop_front();
  }
  all.push_back({.tenant = entry.tenant,
                 .space_id = entry.key,
                 .bytes = Bytes(record.body.begin(), record.body.end())});
  described_[{entry.tenant, entry.key}] = std::prev(all.end());
}

// Takes the footer's word; only descriptors are read now. False where one is damaged.
bool Recovery::take_footer(Candidate& candidate, const std::vector<LogEntry>& entries) {
  const uint64_t damaged = report_.damaged;
  FileWindow window(*candidate.file, candidate.bytes, 0);
  for (const LogEntry& entry : entries) {
    apply(entry);
    if (entry.type != EntryType::descriptor || knows_space(entry)) {
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
  return report_.damaged == damaged;
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
bool Recovery::seal(Candidate& candidate, const ScanResult& found) {
  AlignedBuffer tail(sealed_tail_bytes(found.entries.size()));
  encode_sealed_tail(
      {.log_id = log_id_, .number = candidate.number}, found.end, found.entries, tail.bytes());
  Status status = candidate.file->truncate(found.end);
  if (status.has_value()) {
    candidate.bytes = found.end;
    status = candidate.file->write(found.end, tail.bytes());
  }
  if (status.has_error()) {
    line(fmt::format("{} stays without a footer and is read whole at each start: {}",
                     device_.path_of(segment_name(candidate.number)),
                     status.error().to_string()));
    return false;
  }
  candidate.bytes = found.end + tail.size();
  out_.segments[candidate.number] = candidate.bytes;
  return true;
}

// Reads the records up to `end`. Those that nothing proves to be durable it writes again as they
// were read and checked: the process that wrote them may have been told that a sync failed, and
// then no later one proves anything of what was not written since. That goes for the segment's
// header, and for its length too: see scan().
ScanResult Recovery::read_records(Candidate& candidate, uint64_t end, Rewrite& rewrite) {
  FileWindow window(*candidate.file, end);
  auto begin = [&] {
    rewrite.has_begun = true;
    if (candidate.header) {
      AlignedBuffer block(kBlockBytes);
      encode_segment_header(*candidate.header, block.bytes());
      rewrite.status = candidate.file->write(0, block.bytes());
    }
  };
  auto take = [&](const ScannedRecord& record) {
    const LogEntry entry = record.head.entry;
    if (entry.type == EntryType::descriptor) {
      take_descriptor(record);
    }
    if (entry.sequence <= rewrite.durable_sequence) {
      return;
    }
    if (!rewrite.has_begun) {
      begin();
    }
    if (rewrite.status.has_error()) {
      return;
    }
    // From the window's memory, not from the device: the bytes that were checked.
    auto extent = window.view(entry.offset, entry.extent_bytes());
    rewrite.status =
        extent.has_value() ? candidate.file->write(entry.offset, *extent) : Status(extent.error());
  };
  return scan_segment(window, {.log_id = log_id_, .number = candidate.number}, take);
}

// What stands behind the last record: a footer that is damaged, records that were durable, or a
// tail that a crash tore.
void Recovery::judge_tail(const Candidate& candidate,
                          const Result<Trailer>& trailer,
                          const Error& no_footer,
                          ScanResult& found) {
  const SegmentHeader segment{.log_id = log_id_, .number = candidate.number};
  if (trailer.has_value() && found.tail) {
    found.gaps.push_back(*std::exchange(found.tail, {}));
  }
  const bool was_sealed = trailer.has_value() || resembles_footer(*candidate.file, segment, found);
  if (!was_sealed || no_footer.code == Errc::ok) {
    return;
  }
  found.tail.reset();
  ++report_.damaged;
  line(
      fmt::format("segment {:016x} offset {}: the footer is damaged, and made again from the "
                  "records, of which this costs none: {}",
                  candidate.number,
                  trailer.has_value() ? trailer->footer_offset : found.end,
                  no_footer.to_string()));
}

void Recovery::scan(Candidate& candidate, const Result<Trailer>& trailer, const Error& no_footer) {
  ++report_.scanned_segments;
  if (!candidate.header && candidate.bytes >= kBlockBytes) {
    ++report_.damaged;
    line(
        fmt::format("segment {:016x} offset 0: the header is damaged, which costs no record, only "
                    "that they are read one by one at each start: {}",
                    candidate.number,
                    candidate.header_error->to_string()));
  }
  Rewrite rewrite;
  rewrite.durable_sequence = trailer.has_value() ? ~0ull : candidate.durable_sequence;
  ScanResult found = read_records(
      candidate, trailer.has_value() ? trailer->footer_offset : candidate.bytes, rewrite);
  judge_tail(candidate, trailer, no_footer, found);
  describe(candidate, found);
  // Another length, which the sync makes durable; seal() cuts it off again.
  if (rewrite.has_begun && rewrite.status.has_value() && !found.has_read_errors) {
    candidate.bytes = round_up_to_block(candidate.bytes) + kBlockBytes;
    rewrite.status = candidate.file->truncate(candidate.bytes);
  }
  if (found.entries.empty() && !found.has_read_errors) {
    drop_empty(candidate);
    return;
  }
  // A footer says that the records before it are durable.
  if (sync(candidate, std::move(rewrite.status)) && !found.has_read_errors &&
      seal(candidate, found) && candidate.header && found.gaps.empty()) {
    keep_last(candidate, found.end, found.entries);
  }
  std::for_each(found.entries.begin(), found.entries.end(), [&](const LogEntry& e) { apply(e); });
}

// Takes the segment in and makes durable what it has; false, with a line, if the device refuses.
// `status`: whether that could still succeed.
bool Recovery::sync(Candidate& candidate, Status status) {
  index_.add_segment(candidate.number, candidate.file);
  out_.segments[candidate.number] = candidate.bytes;
  if (status.has_value()) {
    status = candidate.file->sync(SyncSite::recovered_segment);
  }
  if (status.has_error()) {
    line(
        fmt::format("{} is not durable, though it can be read: {}; a power loss may take its "
                    "pages: mend the disk, and start again",
                    device_.path_of(segment_name(candidate.number)),
                    status.error().to_string()));
    index_.mark_not_durable(candidate.number);
  }
  return status.has_value();
}

// The writer may go on behind the records of the newest segment, instead of one more short one.
void Recovery::keep_last(const Candidate& candidate,
                         uint64_t end,
                         const std::vector<LogEntry>& entries) {
  CurrentSegment segment;
  segment.number = candidate.number;
  segment.file = candidate.file;
  segment.end = end;
  segment.synced_end = end;
  // Above that of every record before, also of tombstones that have no entry because they say what
  // the one before says: a record has at least a block, so its ordinal is at most its block's
  // number.
  segment.ordinal = end / kBlockBytes - 1;
  segment.synced_ordinal = segment.ordinal;
  segment.entries = entries;
  for (const LogEntry& entry : entries) {
    if (entry.type == EntryType::descriptor) {
      segment.described.insert({entry.tenant, entry.key});
    }
  }
  out_.last_whole = std::move(segment);
}

void Recovery::recover_segment(Candidate& candidate) {
  const SegmentHeader segment{.log_id = log_id_, .number = candidate.number};
  Result<Trailer> trailer = read_trailer(*candidate.file, candidate.bytes, segment);
  Error no_footer = trailer.has_error() ? trailer.error() : Error{};
  if (trailer.has_value() && candidate.header) {
    auto entries = read_footer(*candidate.file, *trailer);
    if (entries.has_value() && !entries->empty()) {
      // The process may have ended before anybody synced.
      const bool is_durable = sync(candidate, {});
      if (take_footer(candidate, *entries) && is_durable) {
        keep_last(candidate, trailer->footer_offset, *entries);
      }
      return;
    }
    no_footer = entries.has_error() ? entries.error() : Error{};
  }
  scan(candidate, trailer, no_footer);
}

}  // namespace sluice::store
