// The bytes of the log (FORMAT.md): segment header, record heads, tombstone bodies, footer,
// trailer.
//
// Pure: spans in, values out; no I/O, no log state. Every byte that is parsed is untrusted; error
// texts name the structure and the offset within it, their caller adds segment and place.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/limits.h"
#include "src/base/result.h"
#include "store/block_device.h"
#include "store/record.h"

namespace sluice::store {

using LogId = std::array<uint8_t, 16>;  // of one log; drawn at random, no client knows it

inline constexpr uint64_t kSegmentNumberMax = (1ull << 40) - 1;
inline constexpr uint32_t kOrdinalBits = 24;  // of a sequence: the record's number in its segment
inline constexpr uint64_t kOrdinalMax = (1ull << kOrdinalBits) - 1;
inline constexpr uint32_t kSectionSumsMax = 65536;     // of one record
inline constexpr uint32_t kTombstoneKeysMax = 1024;    // of one record
inline constexpr uint64_t kFooterBytesMax = 64 << 20;  // 320,000 records

enum class EntryType : uint32_t {
  page = 1,
  descriptor = 2,
  tombstone = 3,
  cut = 4,
  loss = 5,
};

// The name of a segment's file: "000000000000002a.seg".
std::string segment_name(uint64_t number);

// The number in a segment's name, or nothing: no segment. Accepts exactly what segment_name makes.
std::optional<uint64_t> segment_number(std::string_view name);

constexpr uint64_t sequence_of(uint64_t segment, uint64_t ordinal) {
  return segment << kOrdinalBits | ordinal;
}

struct SegmentHeader {
  LogId log_id{};
  uint64_t number = 0;
  // Of the segment with the number before: its records up to this sequence were durable when this
  // one began. 0: not known.
  uint64_t previous_durable = 0;
};

// What the footer keeps of a record.
struct LogEntry {
  EntryType type = EntryType::page;
  uint32_t head_bytes = 0;
  uint64_t offset = 0;  // in the segment, of the head
  uint64_t sequence = 0;
  uint64_t bytes = 0;  // of the body; of a cut: what stays of the page; of a loss: its sequence
  uint32_t tenant = 0;
  uint32_t header_bytes = 0;
  RowEnds rows;
  uint32_t preference = 0;
  Key key{};
  Key anchor{};
  Hash32 space_id{};
  EncodingId encoding_id{};

  bool has_body() const { return type != EntryType::cut && type != EntryType::loss; }

  uint64_t body_bytes() const { return has_body() ? bytes : 0; }

  // From the head to the next record's.
  uint64_t extent_bytes() const { return round_up_to_block(head_bytes + body_bytes()); }

  // Takes rows of a page away. Requires: 1 to those that are there.
  void shorten(uint32_t rows_left) {
    rows.shorten(rows_left);
    bytes = rows.last().end;
  }

  bool operator==(const LogEntry&) const = default;
};

// Where a record has to stand.
struct LogPlace {
  LogId log_id{};
  uint64_t segment = 0;
  uint64_t offset = 0;
};

struct RecordHead {
  LogEntry entry;
  std::vector<SectionSum> sections;

  // The record that the body is checked against.
  Record record() const;
};

struct Trailer {
  LogId log_id{};
  uint64_t segment = 0;
  uint64_t footer_offset = 0;
  uint64_t footer_bytes = 0;
  uint64_t footer_xxh3 = 0;
};

inline constexpr uint32_t kLogHeadFixedBytes = 248;
inline constexpr uint32_t kLogEntryBytes = 208;
inline constexpr uint32_t kLogSectionBytes = 16;
inline constexpr uint32_t kDeletedKeyBytes = 36;
inline constexpr uint32_t kLogHeadBytesMax =
    kLogHeadFixedBytes + kLogSectionBytes * kSectionSumsMax;
inline constexpr uint64_t kExtentBytesMax =
    (kLogHeadBytesMax + kPageBytesMax + kBlockBytes - 1) / kBlockBytes * kBlockBytes;

constexpr uint32_t log_head_bytes(size_t sections) {
  return kLogHeadFixedBytes + kLogSectionBytes * static_cast<uint32_t>(sections);
}

// The entry of a page or descriptor; offset and sequence are still 0.
LogEntry entry_of(EntryType type, const Record& record);

// Requires: `block` has kBlockBytes.
void encode_segment_header(const SegmentHeader& header, MutByteSpan block);

// Requires: `block` has kBlockBytes. Errors: bad_magic, bad_checksum, bad_version (magic and
// checksum agree: a later build wrote it), reserved_set, bad_value.
Result<SegmentHeader> parse_segment_header(ByteSpan block);

// Requires: `out` has entry.head_bytes, sections are as many as these say.
void encode_head(const LogPlace& place,
                 const LogEntry& entry,
                 std::span<const SectionSum> sections,
                 MutByteSpan out);

// The log that a head or trailer says it is of, before anything of it is checked; nothing where
// this is neither. Requires: `block` has kBlockBytes.
std::optional<LogId> peek_log_id(ByteSpan block);

// How long the head is whose first bytes these are. Errors: truncated, bad_magic, bad_value
// (written for another log, segment or offset: misdirected or stale), too_large.
Result<uint32_t> peek_head_bytes(ByteSpan bytes, const LogPlace& place);

// The head at the front of `bytes`, which may be longer. Errors: as peek_head_bytes; bad_checksum;
// bad_value (a field out of range too); reserved_set.
Result<RecordHead> parse_head(ByteSpan bytes, const LogPlace& place);

// Writes kDeletedKeyBytes a key. Requires: `out` has these.
void encode_deleted(std::span<const RecordId> keys, MutByteSpan out);

// The keys of a tombstone's body. Errors: bad_value.
Result<std::vector<RecordId>> parse_deleted(ByteSpan body);

// Whole blocks for a footer of so many entries, its trailer included.
constexpr uint64_t sealed_tail_bytes(uint64_t entries) {
  return round_up_to_block(entries * kLogEntryBytes) + kBlockBytes;
}

// Writes footer and trailer for a segment whose records end at `end`. Requires: `out` has
// sealed_tail_bytes(entries.size()).
void encode_sealed_tail(const SegmentHeader& segment,
                        uint64_t end,
                        std::span<const LogEntry> entries,
                        MutByteSpan out);

// Requires: `block` has kBlockBytes; it is the last one of a file of file_bytes. Errors: bad_magic
// (the segment was not sealed), bad_checksum, bad_version, bad_value (another segment's, or the
// footer does not end at the trailer), too_large, reserved_set.
Result<Trailer> parse_trailer(ByteSpan block, const SegmentHeader& segment, uint64_t file_bytes);

// The entries of a footer, in the order of the log. Requires: `bytes` has trailer.footer_bytes.
// Errors: bad_checksum, bad_value, reserved_set.
Result<std::vector<LogEntry>> parse_footer(ByteSpan bytes, const Trailer& trailer);

}  // namespace sluice::store
