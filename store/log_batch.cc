#include "store/log_batch.h"

#include <algorithm>
#include <cstring>

namespace sluice::store {

// The next `bytes` behind what is used, which stays in place.
MutByteSpan LogBatch::make_room(uint64_t bytes) {
  if (used_ + bytes > memory_.size()) {
    AlignedBuffer larger(used_ + bytes);
    if (used_ != 0) {
      std::memcpy(larger.bytes().data(), memory_.bytes().data(), used_);
    }
    memory_ = std::move(larger);
  }
  return memory_.bytes().subspan(used_, bytes);
}

// Adds a record's extent; returns the room of its body, which the caller fills.
MutByteSpan LogBatch::append(BatchRecord record, uint64_t body_bytes) {
  MutByteSpan extent = make_room(record.entry.extent_bytes());
  const uint64_t end = record.entry.head_bytes + body_bytes;
  std::memset(extent.data() + end, 0, extent.size() - end);
  record.at = used_;
  used_ += extent.size();
  MutByteSpan body = extent.subspan(record.entry.head_bytes, body_bytes);
  records_.push_back(std::move(record));
  return body;
}

Status LogBatch::add(EntryType type, const Record& record, ByteSpan bytes) {
  SLUICE_ASSERT(record.bytes() == bytes.size());
  uint64_t before = used_;
  MutByteSpan body =
      append({.entry = entry_of(type, record), .sections = record.sections}, bytes.size());
  if (Status status = copy_verified(record, bytes, body); status.has_error()) {
    used_ = before;
    records_.pop_back();
    return status;
  }
  return {};
}

void LogBatch::add_tombstone(std::span<const RecordId> keys) {
  SLUICE_ASSERT(!keys.empty() && keys.size() <= kTombstoneKeysMax);
  Bytes body(keys.size() * kDeletedKeyBytes);
  encode_deleted(keys, body);
  BatchRecord record;
  record.entry.type = EntryType::tombstone;
  record.entry.head_bytes = log_head_bytes(0);
  record.entry.bytes = body.size();
  record.entry.header_bytes = static_cast<uint32_t>(body.size());
  record.entry.encoding_id = encoding_id_of(body);
  record.deleted.assign(keys.begin(), keys.end());
  for (bool is_copy : {false, true}) {
    record.is_copy = is_copy;
    MutByteSpan to = append(record, body.size());
    std::copy(body.begin(), body.end(), to.begin());
  }
}

void LogBatch::add_bare(LogEntry entry) {
  SLUICE_ASSERT(!entry.has_body());
  entry.head_bytes = log_head_bytes(0);
  append({.entry = entry}, 0);
}

uint64_t LogBatch::footer_entries() const {
  uint64_t count = 0;
  for (const BatchRecord& record : records_) {
    count += record.is_copy ? 0 : std::max<uint64_t>(1, record.deleted.size());
  }
  return count;
}

}  // namespace sluice::store
