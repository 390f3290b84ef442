// Heads of records, and bodies of tombstones.
#include <algorithm>

#include "store/log_entry.h"
#include "store/log_fields.h"
#include "store/log_layout.h"

namespace sluice::store {
namespace {

// Ends ascend from the header's, the last one is the record's.
Result<std::vector<SectionSum>> parse_sections(ByteSpan bytes, const LogEntry& entry) {
  std::vector<SectionSum> sections;
  sections.reserve(bytes.size() / kLogSectionBytes);
  uint64_t at = entry.header_bytes;
  for (size_t i = 0; i * kLogSectionBytes < bytes.size(); ++i) {
    ByteSpan raw = bytes.subspan(i * kLogSectionBytes, kLogSectionBytes);
    sections.push_back({.end = get<uint64_t>(raw, layout::kSectionEnd),
                        .xxh3 = get<uint64_t>(raw, layout::kSectionXxh3)});
    if (sections.back().end < at) {
      return SLUICE_ERR(Errc::bad_value,
                        "section sum {}: ends at {}, before its start at {}",
                        i,
                        sections.back().end,
                        at);
    }
    at = sections.back().end;
  }
  if (entry.has_body() && at != entry.body_bytes()) {
    return SLUICE_ERR(
        Errc::bad_value, "record head: sections end at {}, its body at {}", at, entry.body_bytes());
  }
  return sections;
}

Status check_place(ByteSpan bytes, const LogPlace& place) {
  if (get<LogId>(bytes, layout::kRecordLogId) != place.log_id) {
    return SLUICE_ERR(Errc::bad_value,
                      "record head: of log {}, expected {}",
                      to_hex(get<LogId>(bytes, layout::kRecordLogId)),
                      to_hex(place.log_id));
  }
  auto segment = get<uint64_t>(bytes, layout::kRecordSegment);
  auto offset = get<uint64_t>(bytes.subspan(layout::kRecordEntry.at), layout::kOffset);
  if (segment != place.segment || offset != place.offset) {
    return SLUICE_ERR(Errc::bad_value,
                      "record head: written for segment {:016x} offset {}, found at segment "
                      "{:016x} offset {}",
                      segment,
                      offset,
                      place.segment,
                      place.offset);
  }
  return {};
}

}  // namespace

Record RecordHead::record() const {
  Record record;
  record.tenant = entry.tenant;
  record.key = entry.key;
  record.anchor = entry.anchor;
  record.space_id = entry.space_id;
  record.encoding_id = entry.encoding_id;
  record.header_bytes = entry.header_bytes;
  record.rows = entry.rows;
  record.preference = entry.preference;
  record.sections = sections;
  return record;
}

void encode_head(const LogPlace& place,
                 const LogEntry& entry,
                 std::span<const SectionSum> sections,
                 MutByteSpan out) {
  SLUICE_ASSERT(entry.head_bytes == log_head_bytes(sections.size()));
  SLUICE_ASSERT(out.size() == entry.head_bytes && entry.offset == place.offset);
  put(out, layout::kRecordStart, layout::kRecordMagic);
  put(out, layout::kSections, static_cast<uint32_t>(sections.size()));
  put(out, layout::kRecordLogId, place.log_id);
  put(out, layout::kRecordSegment, place.segment);
  encode_entry(entry, out.subspan(layout::kRecordEntry.at, kLogEntryBytes));
  for (size_t i = 0; i < sections.size(); ++i) {
    MutByteSpan raw = out.subspan(kLogHeadFixedBytes + i * kLogSectionBytes, kLogSectionBytes);
    put(raw, layout::kSectionEnd, sections[i].end);
    put(raw, layout::kSectionXxh3, sections[i].xxh3);
  }
  put(out, layout::kHeadXxh3, xxh3_64(out.subspan(layout::kHeadChecksummedFrom)));
}

Result<uint32_t> peek_head_bytes(ByteSpan bytes, const LogPlace& place) {
  if (bytes.size() < kLogHeadFixedBytes) {
    return SLUICE_ERR(Errc::truncated,
                      "record head: {} bytes, at least {} needed",
                      bytes.size(),
                      kLogHeadFixedBytes);
  }
  auto magic = get<uint32_t>(bytes, layout::kRecordStart);
  if (magic != layout::kRecordMagic) {
    return SLUICE_ERR(Errc::bad_magic,
                      "record head: magic {:#010x}, expected {:#010x}",
                      magic,
                      layout::kRecordMagic);
  }
  SLUICE_CHECK(check_place(bytes, place));
  auto sections = get<uint32_t>(bytes, layout::kSections);
  if (sections > kSectionSumsMax) {
    return SLUICE_ERR(
        Errc::too_large, "record head: {} sections, at most {}", sections, kSectionSumsMax);
  }
  return log_head_bytes(sections);
}

Result<RecordHead> parse_head(ByteSpan bytes, const LogPlace& place) {
  SLUICE_TRY(uint32_t head_bytes, peek_head_bytes(bytes, place));
  if (bytes.size() < head_bytes) {
    return SLUICE_ERR(
        Errc::truncated, "record head: {} bytes, {} needed", bytes.size(), head_bytes);
  }
  ByteSpan head = bytes.first(head_bytes);
  uint64_t sum = xxh3_64(head.subspan(layout::kHeadChecksummedFrom));
  auto stored = get<uint64_t>(head, layout::kHeadXxh3);
  if (sum != stored) {
    return SLUICE_ERR(Errc::bad_checksum,
                      "record head: its {} bytes hash to {:#x}, stored {:#x}",
                      head_bytes,
                      sum,
                      stored);
  }
  RecordHead out;
  ByteSpan entry = head.subspan(layout::kRecordEntry.at, kLogEntryBytes);
  SLUICE_TRY(out.entry, parse_entry(entry, place.segment));
  SLUICE_CHECK(expect_range("head_bytes", out.entry.head_bytes, head_bytes, head_bytes));
  SLUICE_TRY(out.sections, parse_sections(head.subspan(kLogHeadFixedBytes), out.entry));
  if (out.entry.type == EntryType::page) {
    SLUICE_CHECK(check_layout(out.record()));
  }
  return out;
}

void encode_deleted(std::span<const RecordId> keys, MutByteSpan out) {
  SLUICE_ASSERT(out.size() == keys.size() * kDeletedKeyBytes);
  for (size_t i = 0; i < keys.size(); ++i) {
    MutByteSpan raw = out.subspan(i * kDeletedKeyBytes, kDeletedKeyBytes);
    put(raw, layout::kDeletedTenant, keys[i].tenant);
    put(raw, layout::kDeletedKey, keys[i].key);
  }
}

Result<std::vector<RecordId>> parse_deleted(ByteSpan body) {
  if (body.empty() || body.size() % kDeletedKeyBytes != 0 ||
      body.size() / kDeletedKeyBytes > kTombstoneKeysMax) {
    return SLUICE_ERR(Errc::bad_value,
                      "tombstone: {} bytes, expected {} for each of 1 to {} keys",
                      body.size(),
                      kDeletedKeyBytes,
                      kTombstoneKeysMax);
  }
  std::vector<RecordId> keys(body.size() / kDeletedKeyBytes);
  for (size_t i = 0; i < keys.size(); ++i) {
    ByteSpan raw = body.subspan(i * kDeletedKeyBytes, kDeletedKeyBytes);
    keys[i] = {.tenant = get<uint32_t>(raw, layout::kDeletedTenant),
               .key = get<Key>(raw, layout::kDeletedKey)};
  }
  return keys;
}

}  // namespace sluice::store
