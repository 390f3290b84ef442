#include "store/log_format.h"

#include <algorithm>

#include "store/log_layout.h"

namespace sluice::store {

namespace {

static_assert(kLogHeadFixedBytes == layout::kHeadFixedBytes);
static_assert(kLogEntryBytes == layout::kEntryBytes);
static_assert(kLogSectionBytes == layout::kSectionBytes);
static_assert(kDeletedKeyBytes == layout::kDeletedBytes);

static_assert(layout::kRowEnds.bytes == kRecordRowsMax * layout::kRowBytes);

template <class T>
void put(MutByteSpan out, const Field& field, T value) {
  SLUICE_ASSERT(field.bytes == sizeof value);
  store_le<T>(out.data() + field.at, value);
}

template <size_t N>
void put(MutByteSpan out, const Field& field, const std::array<uint8_t, N>& value) {
  SLUICE_ASSERT(field.bytes == N);
  std::copy(value.begin(), value.end(), out.data() + field.at);
}

template <class T>
T get(ByteSpan bytes, const Field& field) {
  if constexpr (std::is_unsigned_v<T>) {
    return load_le<T>(bytes.data() + field.at);
  } else {
    T value;
    std::copy_n(bytes.data() + field.at, value.size(), value.begin());
    return value;
  }
}

Status expect_zeros(std::string_view what, ByteSpan bytes, const Field& field) {
  ByteSpan raw = bytes.subspan(field.at, field.bytes);
  auto bad = std::find_if(raw.begin(), raw.end(), [](uint8_t byte) { return byte != 0; });
  if (bad != raw.end()) {
    return SLUICE_ERR(Errc::reserved_set,
                      "{}: reserved field '{}' has {:#04x} at offset {}, expected 0",
                      what,
                      field.name,
                      *bad,
                      field.at + (bad - raw.begin()));
  }
  return {};
}

void seal_block(MutByteSpan block) {
  put(block, layout::kBlockXxh3, xxh3_64(block.first(layout::kBlockXxh3.at)));
}

// Magic, checksum and version of a first or last block, in this order: a version counts only where
// the block is whole.
Status check_block(std::string_view what, ByteSpan block, uint32_t magic) {
  SLUICE_ASSERT(block.size() == kBlockBytes);
  auto found = get<uint32_t>(block, layout::kMagic);
  if (found != magic) {
    return SLUICE_ERR(
        Errc::bad_magic, "{}: magic {:#010x} at offset 0, expected {:#010x}", what, found, magic);
  }
  uint64_t sum = xxh3_64(block.first(layout::kBlockXxh3.at));
  auto stored = get<uint64_t>(block, layout::kBlockXxh3);
  if (sum != stored) {
    return SLUICE_ERR(Errc::bad_checksum,
                      "{}: its first {} bytes hash to {:#x}, stored {:#x}",
                      what,
                      layout::kBlockXxh3.at,
                      sum,
                      stored);
  }
  auto version = get<uint32_t>(block, layout::kVersion);
  if (version != layout::kVersionValue) {
    return SLUICE_ERR(Errc::bad_version,
                      "{}: version {}, this build reads {}",
                      what,
                      version,
                      layout::kVersionValue);
  }
  return {};
}

Status expect_range(std::string_view field, uint64_t value, uint64_t least, uint64_t most) {
  if (value < least || value > most) {
    return SLUICE_ERR(
        Errc::bad_value, "log entry: {} is {}, allowed {} to {}", field, value, least, most);
  }
  return {};
}

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

std::string segment_name(uint64_t number) {
  return fmt::format("{:016x}.seg", number);
}

std::optional<uint64_t> segment_number(std::string_view name) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  if (name.size() != 20 || !name.ends_with(".seg")) {
    return {};
  }
  uint64_t number = 0;
  for (char c : name.substr(0, 16)) {
    size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) {
      return {};
    }
    number = number << 4 | digit;
  }
  return number;
}

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

void encode_segment_header(const SegmentHeader& header, MutByteSpan block) {
  std::fill(block.begin(), block.end(), uint8_t{0});
  put(block, layout::kMagic, layout::kSegmentMagic);
  put(block, layout::kVersion, layout::kVersionValue);
  put(block, layout::kLogId, header.log_id);
  put(block, layout::kSegmentNumber, header.number);
  put(block, layout::kPreviousDurable, header.previous_durable);
  seal_block(block);
}

Result<SegmentHeader> parse_segment_header(ByteSpan block) {
  SLUICE_CHECK(check_block("segment header", block, layout::kSegmentMagic));
  SLUICE_CHECK(expect_zeros("segment header", block, layout::kHeaderReserved));
  SegmentHeader header{.log_id = get<LogId>(block, layout::kLogId),
                       .number = get<uint64_t>(block, layout::kSegmentNumber),
                       .previous_durable = get<uint64_t>(block, layout::kPreviousDurable)};
  if (header.number > kSegmentNumberMax) {
    return SLUICE_ERR(
        Errc::bad_value, "segment header: number {}, at most {}", header.number, kSegmentNumberMax);
  }
  if (header.previous_durable != 0 &&
      header.previous_durable >> kOrdinalBits != header.number - 1) {
    return SLUICE_ERR(Errc::bad_value,
                      "segment header: number {}, previous_durable is {:#x}, a sequence of segment "
                      "{}",
                      header.number,
                      header.previous_durable,
                      header.previous_durable >> kOrdinalBits);
  }
  return header;
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

std::optional<LogId> peek_log_id(ByteSpan block) {
  if (get<uint32_t>(block, layout::kRecordStart) == layout::kRecordMagic) {
    return get<LogId>(block, layout::kRecordLogId);
  }
  if (get<uint32_t>(block, layout::kMagic) == layout::kTrailerMagic) {
    return get<LogId>(block, layout::kLogId);
  }
  return {};
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

void encode_sealed_tail(const SegmentHeader& segment,
                        uint64_t end,
                        std::span<const LogEntry> entries,
                        MutByteSpan out) {
  SLUICE_ASSERT(out.size() == sealed_tail_bytes(entries.size()));
  std::fill(out.begin(), out.end(), uint8_t{0});
  for (size_t i = 0; i < entries.size(); ++i) {
    encode_entry(entries[i], out.subspan(i * kLogEntryBytes, kLogEntryBytes));
  }
  uint64_t footer_bytes = entries.size() * kLogEntryBytes;
  MutByteSpan block = out.last(kBlockBytes);
  put(block, layout::kMagic, layout::kTrailerMagic);
  put(block, layout::kVersion, layout::kVersionValue);
  put(block, layout::kLogId, segment.log_id);
  put(block, layout::kSegmentNumber, segment.number);
  put(block, layout::kFooterOffset, end);
  put(block, layout::kFooterBytes, footer_bytes);
  put(block, layout::kFooterXxh3, xxh3_64(out.first(footer_bytes)));
  seal_block(block);
}

Result<Trailer> parse_trailer(ByteSpan block, const SegmentHeader& segment, uint64_t file_bytes) {
  SLUICE_CHECK(check_block("trailer", block, layout::kTrailerMagic));
  SLUICE_CHECK(expect_zeros("trailer", block, layout::kTrailerReserved));
  Trailer trailer{.log_id = get<LogId>(block, layout::kLogId),
                  .segment = get<uint64_t>(block, layout::kSegmentNumber),
                  .footer_offset = get<uint64_t>(block, layout::kFooterOffset),
                  .footer_bytes = get<uint64_t>(block, layout::kFooterBytes),
                  .footer_xxh3 = get<uint64_t>(block, layout::kFooterXxh3)};
  if (trailer.log_id != segment.log_id || trailer.segment != segment.number) {
    return SLUICE_ERR(Errc::bad_value,
                      "trailer: of log {} segment {:016x}, expected {} {:016x}",
                      to_hex(trailer.log_id),
                      trailer.segment,
                      to_hex(segment.log_id),
                      segment.number);
  }
  if (trailer.footer_bytes > kFooterBytesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "trailer: a footer of {} bytes, at most {}",
                      trailer.footer_bytes,
                      kFooterBytesMax);
  }
  if (trailer.footer_bytes % kLogEntryBytes != 0 || trailer.footer_offset < kBlockBytes ||
      trailer.footer_offset % kBlockBytes != 0 || trailer.footer_offset > file_bytes ||
      trailer.footer_offset + sealed_tail_bytes(trailer.footer_bytes / kLogEntryBytes) !=
          file_bytes) {
    return SLUICE_ERR(Errc::bad_value,
                      "trailer: a footer of {} bytes at offset {} does not end at the last block "
                      "of a file of {}",
                      trailer.footer_bytes,
                      trailer.footer_offset,
                      file_bytes);
  }
  return trailer;
}

Result<std::vector<LogEntry>> parse_footer(ByteSpan bytes, const Trailer& trailer) {
  SLUICE_ASSERT(bytes.size() == trailer.footer_bytes);
  uint64_t sum = xxh3_64(bytes);
  if (sum != trailer.footer_xxh3) {
    return SLUICE_ERR(Errc::bad_checksum,
                      "footer: its {} bytes hash to {:#x}, stored {:#x}",
                      bytes.size(),
                      sum,
                      trailer.footer_xxh3);
  }
  std::vector<LogEntry> entries(bytes.size() / kLogEntryBytes);
  uint64_t least = kBlockBytes;
  uint64_t least_sequence = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    ByteSpan raw = bytes.subspan(i * kLogEntryBytes, kLogEntryBytes);
    SLUICE_TRY(entries[i], parse_entry(raw, trailer.segment));
    const LogEntry& entry = entries[i];
    uint64_t end = entry.offset + entry.extent_bytes();
    if (entry.offset < least || end > trailer.footer_offset) {
      return SLUICE_ERR(Errc::bad_value,
                        "footer: entry {} stands at {} to {}, allowed {} to {}",
                        i,
                        entry.offset,
                        end,
                        least,
                        trailer.footer_offset);
    }
    if (entry.sequence < least_sequence) {
      return SLUICE_ERR(Errc::bad_value,
                        "footer: entry {} has sequence {:#x}, expected {:#x} or more",
                        i,
                        entry.sequence,
                        least_sequence);
    }
    // The keys of one tombstone share its place.
    bool is_tombstone = entry.type == EntryType::tombstone;
    least = is_tombstone ? entry.offset : end;
    least_sequence = is_tombstone ? entry.sequence : entry.sequence + 1;
  }
  return entries;
}

}  // namespace sluice::store
