#include "store/log_writer.h"

#include <algorithm>
#include <utility>

namespace sluice::store {

namespace {

// After a full device did not take a batch even without the oldest segment: somebody else fills it,
// and dropping a segment a batch would only empty the log for them. Longer each time, till a batch
// gets through.
constexpr uint64_t kFullPauseNs = 5'000'000'000;
constexpr uint64_t kFullPauseMaxNs = 600'000'000'000;

Record descriptor_record(const RecordId& key, const Bytes& bytes) {
  Record record;
  record.tenant = key.tenant;
  record.key = key.key;
  record.space_id = key.key;
  record.header_bytes = static_cast<uint32_t>(bytes.size());
  record.encoding_id = encoding_id_of(bytes);
  return record;
}

uint64_t descriptor_extent(const Bytes& bytes) {
  return round_up_to_block(kLogHeadFixedBytes + bytes.size());
}

}  // namespace

uint64_t LogWriter::log_bytes() const {
  uint64_t sum = current_ ? current_->end : 0;
  for (const auto& [number, bytes] : segments_) {
    sum += bytes;
  }
  return sum;
}

// Spaces of the batch's pages whose descriptors the current segment does not have yet.
std::vector<RecordId> LogWriter::undescribed(const LogBatch& batch) const {
  std::set<RecordId> out;
  for (const BatchRecord& record : batch.records()) {
    RecordId key = {record.entry.tenant, record.entry.space_id};
    bool is_new = !current_ || !current_->described.contains(key);
    if (record.entry.type == EntryType::page && is_new && descriptors_.contains(key)) {
      out.insert(key);
    }
  }
  return {out.begin(), out.end()};
}

LogWriter::BatchRoom LogWriter::room_for(const LogBatch& batch) const {
  const std::vector<RecordId> spaces = undescribed(batch);
  BatchRoom room{.bytes = batch.used_bytes(), .entries = batch.footer_entries() + spaces.size()};
  for (const RecordId& key : spaces) {
    room.bytes += descriptor_extent(*descriptors_.at(key));
  }
  return room;
}

bool LogWriter::fits(const BatchRoom& room) const {
  const uint64_t entries = current_->entries.size() + room.entries;
  return current_->end + room.bytes + sealed_tail_bytes(entries) <= config_.segment_bytes &&
         entries * kLogEntryBytes <= kFooterBytesMax;
}

// Sees to it that the current segment has room for the batch; a batch that no segment has room for
// gets one of its own.
Status LogWriter::prepare_segment(const LogBatch& batch, WriteReport& report) {
  if (batch.records().empty()) {
    return {};
  }
  if (last_) {
    SLUICE_CHECK(resume(batch, report));
  }
  if (current_ && current_->ordinal != 0 && !fits(room_for(batch))) {
    SLUICE_CHECK(seal());
  }
  if (!current_) {
    const BatchRoom room = room_for(batch);
    const uint64_t bytes = kBlockBytes + room.bytes + sealed_tail_bytes(room.entries);
    SLUICE_CHECK(start_segment(std::max(bytes, config_.segment_bytes), report));
  }
  return {};
}

// Goes on with the segment that the process before this one wrote last, if the batch has room in
// it: else each start would leave a short one. Its footer goes; where a power loss brings it back
// the records behind it were not durable, or they stand where it stood.
Status LogWriter::resume(const LogBatch& batch, WriteReport& report) {
  current_ = std::exchange(last_, {});
  const uint64_t number = current_->number;
  const uint64_t sealed_bytes = std::exchange(segments_[number], 0);
  Status room;
  bool can_resume = fits(room_for(batch));
  if (can_resume) {
    room = make_room(config_.segment_bytes - current_->end, report);
    can_resume = room.has_value() && current_->file->truncate(current_->end).has_value();
  }
  if (can_resume) {
    segments_.erase(number);
    return {};
  }
  segments_[number] = sealed_bytes;
  current_.reset();
  return room;
}

// Drops the oldest segments until so many more bytes have room.
Status LogWriter::make_room(uint64_t bytes, WriteReport& report) {
  const auto is_current = [&](uint64_t number) { return current_ && current_->number == number; };
  while (!segments_.empty() && !is_current(segments_.begin()->first) &&
         log_bytes() + bytes > config_.capacity_bytes) {
    SLUICE_CHECK(drop_oldest(report));
  }
  return {};
}

Status LogWriter::start_segment(uint64_t bytes, WriteReport& report) {
  SLUICE_CHECK(make_room(bytes, report));
  if (next_number_ > kSegmentNumberMax) {
    return SLUICE_ERR(Errc::io_error,
                      "{}: the log has used up its {} segment numbers; name a new folder",
                      device_.path_of("*.seg"),
                      kSegmentNumberMax);
  }
  uint64_t number = next_number_++;
  SLUICE_TRY(std::shared_ptr<BlockFile> file, device_.create(segment_name(number)));
  AlignedBuffer block(kBlockBytes);
  const bool is_next = previous_durable_ >> kOrdinalBits == number - 1;
  encode_segment_header({.log_id = config_.log_id,
                         .number = number,
                         .previous_durable = is_next ? previous_durable_ : 0},
                        block.bytes());
  Status status = file->write(0, block.bytes());
  if (status.has_value()) {
    status = device_.sync_folder(SyncSite::segment_name);
  }
  if (status.has_error()) {
    // It never had a record, so its number may be used again. Where even this fails, recovery finds
    // an empty segment.
    next_number_ -= device_.remove(segment_name(number)).has_value() ? 1 : 0;
    return status;
  }
  current_.emplace();
  current_->number = number;
  current_->file = file;
  current_->end = kBlockBytes;
  current_->synced_end = kBlockBytes;
  report.opened.push_back({.number = number, .file = std::move(file)});
  return {};
}

// The name goes, and is gone for good before the next one may go.
Status LogWriter::drop_oldest(WriteReport& report) {
  uint64_t number = segments_.begin()->first;
  uint64_t bytes = segments_.begin()->second;
  Status status = device_.remove(segment_name(number));
  if (status.has_error() && status.error().code != Errc::not_found) {
    return status;
  }
  report.dropped.push_back({.number = number, .bytes = bytes});  // also where somebody else did it
  SLUICE_CHECK(device_.sync_folder(SyncSite::segment_drop));
  segments_.erase(number);
  return {};
}

Status LogWriter::append_descriptors(const LogBatch& batch) {
  std::vector<RecordId> spaces = undescribed(batch);
  if (spaces.empty()) {
    return {};
  }
  LogBatch descriptors{AlignedBuffer()};
  for (const RecordId& key : spaces) {
    const Bytes& bytes = *descriptors_.at(key);
    SLUICE_CHECK(descriptors.add(EntryType::descriptor, descriptor_record(key, bytes), bytes));
  }
  SLUICE_CHECK(append(descriptors));
  current_->described.insert(spaces.begin(), spaces.end());
  return {};
}

// Fills in the heads and writes the batch behind what is there.
Status LogWriter::append(LogBatch& batch) {
  if (batch.records().empty()) {
    return {};
  }
  CurrentSegment& current = *current_;
  uint64_t ordinal = current.ordinal;
  for (BatchRecord& record : batch.records()) {
    record.entry.offset = current.end + record.at;
    record.entry.sequence = sequence_of(current.number, ++ordinal);
    encode_head({config_.log_id, current.number, record.entry.offset},
                record.entry,
                record.sections,
                batch.head(record));
  }
  SLUICE_CHECK(current.file->write(current.end, batch.bytes()));
  current.end += batch.bytes().size();
  current.ordinal = ordinal;
  for (const BatchRecord& record : batch.records()) {
    if (record.is_copy) {
      continue;
    }
    if (record.deleted.empty()) {
      current.entries.push_back(record.entry);
    }
    for (const RecordId& deleted : record.deleted) {
      current.entries.push_back(record.entry);
      current.entries.back().tenant = deleted.tenant;
      current.entries.back().key = deleted.key;
    }
  }
  return {};
}

// Makes durable what the current segment has. A sync that fails is the last one: whatever a later
// one says, the bytes may be lost.
Status LogWriter::commit(SyncSite site) {
  if (!current_ || current_->synced_ordinal == current_->ordinal) {
    return {};
  }
  Status status = current_->file->sync(site);
  current_->can_sync = status.has_value();
  if (status.has_error()) {
    return status;
  }
  current_->synced_end = current_->end;
  current_->synced_ordinal = current_->ordinal;
  durable_sequence_ = sequence_of(current_->number, current_->ordinal);
  return {};
}

// Ends the current segment with its footer. Its records are durable before the footer is written:
// a whole trailer proves it. The footer is not synced: without it the segment is scanned.
Status LogWriter::seal() {
  if (!current_ || current_->ordinal == 0) {
    return {};
  }
  SLUICE_CHECK(commit(SyncSite::seal));
  CurrentSegment& current = *current_;
  AlignedBuffer tail(sealed_tail_bytes(current.entries.size()));
  encode_sealed_tail({.log_id = config_.log_id, .number = current.number},
                     current.end,
                     current.entries,
                     tail.bytes());
  SLUICE_CHECK(current.file->write(current.end, tail.bytes()));
  segments_[current.number] = current.end + tail.size();
  previous_durable_ = sequence_of(current.number, current.synced_ordinal);
  current_.reset();
  return {};
}

// Closes the current segment after a failure: what can be synced is kept, the rest is cut off, so
// that neither a crash nor a restart shows what nobody was told is there.
void LogWriter::give_up(WriteReport& report, const Error& reason) {
  if (!current_) {
    return;
  }
  bool is_kept = current_->can_sync && commit(SyncSite::commit).has_value();
  CurrentSegment& current = *current_;
  FailedSegment failed{.number = current.number,
                       .durable_sequence = sequence_of(current.number, current.synced_ordinal)};
  previous_durable_ = failed.durable_sequence;
  uint64_t end = is_kept ? current.end : current.synced_end;
  bool is_cut = current.file->truncate(end).has_value();
  segments_[current.number] = is_cut ? end : current.end;
  if (current.synced_ordinal == 0 && device_.remove(segment_name(current.number)).has_value()) {
    segments_.erase(current.number);
    failed.is_removed = true;
  }
  report.failed.push_back(failed);
  // Where it had no record yet, nothing changed but that the batch is not written: whoever gets the
  // report says so.
  if (current.ordinal != 0) {
    report.lines.push_back(
        fmt::format("{} given up at offset {}: {}; what stands before offset {} is durable{}",
                    device_.path_of(segment_name(current.number)),
                    current.end,
                    reason.to_string(),
                    end,
                    is_cut ? "" : ", the rest could not be cut off"));
  }
  current_.reset();
}

void LogWriter::note_place(WriteReport& report) const {
  report.segment = current_ ? current_->number : next_number_;
  report.offset = current_ ? current_->end : 0;
}

Status LogWriter::try_write(LogBatch& batch, const WriteOptions& options, WriteReport& report) {
  note_place(report);
  SLUICE_CHECK(prepare_segment(batch, report));
  note_place(report);
  SLUICE_CHECK(append_descriptors(batch));
  SLUICE_CHECK(append(batch));
  if (options.seal) {
    return seal();
  }
  return options.sync ? commit(SyncSite::commit) : Status();
}

WriteReport LogWriter::write(LogBatch& batch, const WriteOptions& options) {
  WriteReport report;
  if (full_until_ns_ && clock_.now_ns() >= *full_until_ns_) {
    full_until_ns_.reset();
  }
  report.status = try_write(batch, options, report);
  for (int tries = 1; report.status.has_error() && tries < 2; ++tries) {
    const Error reason = report.status.error();
    give_up(report, reason);
    if (reason.code == Errc::no_space) {
      if (full_until_ns_ || segments_.empty() || drop_oldest(report).has_error()) {
        break;
      }
    }
    report.status = try_write(batch, options, report);
  }
  if (report.status.has_error()) {
    give_up(report, report.status.error());
    if (report.status.error().code == Errc::no_space && !full_until_ns_) {
      full_pause_ns_ = std::clamp(2 * full_pause_ns_, kFullPauseNs, kFullPauseMaxNs);
      full_until_ns_ = clock_.now_ns() + full_pause_ns_;
    }
  } else if (!batch.records().empty()) {
    full_until_ns_.reset();
    full_pause_ns_ = 0;
  }
  report.durable_sequence = durable_sequence_;
  report.log_bytes = log_bytes();
  return report;
}

}  // namespace sluice::store
