// A segment's name, first block, footer and last block.
#include <algorithm>

#include "store/log_entry.h"
#include "store/log_fields.h"
#include "store/log_layout.h"

namespace sluice::store {
namespace {

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

std::optional<LogId> peek_log_id(ByteSpan block) {
  if (get<uint32_t>(block, layout::kRecordStart) == layout::kRecordMagic) {
    return get<LogId>(block, layout::kRecordLogId);
  }
  if (get<uint32_t>(block, layout::kMagic) == layout::kTrailerMagic) {
    return get<LogId>(block, layout::kLogId);
  }
  return {};
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
