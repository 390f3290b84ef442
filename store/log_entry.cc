#include "store/log_entry.h"

#include <algorithm>

#include "store/log_fields.h"
#include "store/log_layout.h"

namespace sluice::store {
namespace {

static_assert(kLogHeadFixedBytes == layout::kHeadFixedBytes);
static_assert(kLogEntryBytes == layout::kEntryBytes);
static_assert(kLogSectionBytes == layout::kSectionBytes);
static_assert(kDeletedKeyBytes == layout::kDeletedBytes);

static_assert(layout::kRowEnds.bytes == kRecordRowsMax * layout::kRowBytes);

MutByteSpan row_at(MutByteSpan entry, size_t row) {
  return entry.subspan(layout::kRowEnds.at + row * layout::kRowBytes, layout::kRowBytes);
}

void encode_rows(const RowEnds& rows, MutByteSpan entry) {
  put(entry, layout::kRows, rows.count);
  for (size_t i = 0; i < kRecordRowsMax; ++i) {
    put(row_at(entry, i), layout::kRowSections, rows.ends[i].sections);
    put(row_at(entry, i), layout::kRowEnd, rows.ends[i].end);
    put(row_at(entry, i), layout::kRowQualityKl, rows.ends[i].quality_kl);
  }
}

RowEnds parse_rows(ByteSpan entry) {
  RowEnds rows{.count = get<uint32_t>(entry, layout::kRows)};
  for (size_t i = 0; i < kRecordRowsMax; ++i) {
    const ByteSpan raw =
        entry.subspan(layout::kRowEnds.at + i * layout::kRowBytes, layout::kRowBytes);
    rows.ends[i] = {.sections = get<uint32_t>(raw, layout::kRowSections),
                    .end = get<uint32_t>(raw, layout::kRowEnd),
                    .quality_kl = get<uint32_t>(raw, layout::kRowQualityKl)};
  }
  return rows;
}

// Rows of a page divide its body; which sections end there is known to the head alone.
Status check_rows(const LogEntry& entry) {
  SLUICE_CHECK(expect_range("rows", entry.rows.count, 1, kRecordRowsMax));
  if (entry.type == EntryType::cut) {
    return {};
  }
  const auto& ends = entry.rows.ends;
  if (std::any_of(ends.begin() + entry.rows.count, ends.end(), [](const RowEnd& end) {
        return end != RowEnd{};
      })) {
    return SLUICE_ERR(
        Errc::bad_value, "log entry: row_ends behind the last of {} rows", entry.rows.count);
  }
  RowEnd before{.end = entry.header_bytes};
  for (uint32_t row = 0; row < entry.rows.count; ++row) {
    const RowEnd& end = entry.rows.ends[row];
    SLUICE_CHECK(expect_range("row_ends: end", end.end, before.end, entry.bytes));
    SLUICE_CHECK(
        expect_range("row_ends: sections", end.sections, before.sections, kSectionSumsMax));
    before = end;
  }
  SLUICE_CHECK(expect_range("row_ends: last end", before.end, entry.bytes, entry.bytes));
  return expect_range("head_bytes",
                      entry.head_bytes,
                      log_head_bytes(before.sections),
                      log_head_bytes(before.sections));
}

Status check_bytes(const LogEntry& entry) {
  switch (entry.type) {
    case EntryType::page:
    case EntryType::cut:
      SLUICE_CHECK(check_rows(entry));
      SLUICE_CHECK(expect_range("bytes", entry.bytes, 1, kPageBytesMax));
      SLUICE_CHECK(expect_range("header_bytes", entry.header_bytes, 0, kPageHeaderBytesMax));
      return expect_range("bytes", entry.bytes, entry.header_bytes, kPageBytesMax);
    case EntryType::descriptor:
      SLUICE_CHECK(expect_range("bytes", entry.bytes, 1, kDescriptorBytesMax));
      return expect_range("header_bytes", entry.header_bytes, entry.bytes, entry.bytes);
    case EntryType::tombstone:
      SLUICE_CHECK(expect_range(
          "bytes", entry.bytes, kDeletedKeyBytes, uint64_t{kDeletedKeyBytes} * kTombstoneKeysMax));
      SLUICE_CHECK(expect_range("bytes modulo 36", entry.bytes % kDeletedKeyBytes, 0, 0));
      return expect_range("header_bytes", entry.header_bytes, entry.bytes, entry.bytes);
    case EntryType::loss:
      SLUICE_CHECK(expect_range("bytes", entry.bytes, sequence_of(1, 1), entry.sequence));
      return expect_range("header_bytes", entry.header_bytes, 0, 0);
  }
  return SLUICE_ERR(
      Errc::bad_value, "log entry: type {}, known 1 to 5", static_cast<uint32_t>(entry.type));
}

Status check_entry(const LogEntry& entry, uint64_t segment) {
  SLUICE_CHECK(check_bytes(entry));
  uint32_t head_bytes_max =
      entry.type == EntryType::page ? kLogHeadBytesMax : kLogHeadFixedBytes;  // no sections
  SLUICE_CHECK(expect_range("head_bytes", entry.head_bytes, kLogHeadFixedBytes, head_bytes_max));
  SLUICE_CHECK(expect_range(
      "head_bytes modulo 16", (entry.head_bytes - kLogHeadFixedBytes) % kLogSectionBytes, 0, 0));
  SLUICE_CHECK(expect_range("offset", entry.offset, kBlockBytes, 1ull << 62));
  SLUICE_CHECK(expect_range("offset modulo 4096", entry.offset % kBlockBytes, 0, 0));
  return expect_range(
      "sequence", entry.sequence, sequence_of(segment, 1), sequence_of(segment, kOrdinalMax));
}

}  // namespace

LogEntry entry_of(EntryType type, const Record& record) {
  LogEntry entry;
  entry.type = type;
  entry.head_bytes = log_head_bytes(record.sections.size());
  entry.bytes = record.bytes();
  entry.tenant = record.tenant;
  entry.header_bytes = record.header_bytes;
  entry.rows = record.rows;
  entry.preference = record.preference;
  entry.key = record.key;
  entry.anchor = record.anchor;
  entry.space_id = record.space_id;
  entry.encoding_id = record.encoding_id;
  return entry;
}

void encode_entry(const LogEntry& entry, MutByteSpan out) {
  put(out, layout::kType, static_cast<uint32_t>(entry.type));
  put(out, layout::kHeadBytes, entry.head_bytes);
  put(out, layout::kOffset, entry.offset);
  put(out, layout::kSequence, entry.sequence);
  put(out, layout::kBytes, entry.bytes);
  put(out, layout::kTenant, entry.tenant);
  put(out, layout::kHeaderBytes, entry.header_bytes);
  encode_rows(entry.rows, out);
  put(out, layout::kPreference, entry.preference);
  put(out, layout::kKey, entry.key);
  put(out, layout::kAnchor, entry.anchor);
  put(out, layout::kSpaceId, entry.space_id);
  put(out, layout::kEncodingId, entry.encoding_id);
}

Result<LogEntry> parse_entry(ByteSpan bytes, uint64_t segment) {
  LogEntry entry;
  entry.type = static_cast<EntryType>(get<uint32_t>(bytes, layout::kType));
  entry.head_bytes = get<uint32_t>(bytes, layout::kHeadBytes);
  entry.offset = get<uint64_t>(bytes, layout::kOffset);
  entry.sequence = get<uint64_t>(bytes, layout::kSequence);
  entry.bytes = get<uint64_t>(bytes, layout::kBytes);
  entry.tenant = get<uint32_t>(bytes, layout::kTenant);
  entry.header_bytes = get<uint32_t>(bytes, layout::kHeaderBytes);
  entry.rows = parse_rows(bytes);
  entry.preference = get<uint32_t>(bytes, layout::kPreference);
  entry.key = get<Key>(bytes, layout::kKey);
  entry.anchor = get<Key>(bytes, layout::kAnchor);
  entry.space_id = get<Hash32>(bytes, layout::kSpaceId);
  entry.encoding_id = get<EncodingId>(bytes, layout::kEncodingId);
  SLUICE_CHECK(check_entry(entry, segment));
  return entry;
}

}  // namespace sluice::store
