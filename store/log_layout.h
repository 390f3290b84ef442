// Where each field of the log stands; the tables of FORMAT.md, which a test compares with these.
// Private to store/.
#pragma once

#include <array>
#include <cstdint>

#include "src/base/field.h"

namespace sluice::store::layout {

inline constexpr uint32_t kSegmentMagic = 0x47534c53;  // "SLSG"
inline constexpr uint32_t kTrailerMagic = 0x52544c53;  // "SLTR"
inline constexpr uint32_t kRecordMagic = 0x43524c53;   // "SLRC"
inline constexpr uint32_t kVersionValue = 2;

// The first block of a segment. Magic, version and block_xxh3 stay where they are in every version.
inline constexpr Field kMagic{"magic", 0, 4};
inline constexpr Field kVersion{"version", 4, 4};
inline constexpr Field kLogId{"log_id", 8, 16};
inline constexpr Field kSegmentNumber{"segment_number", 24, 8};
inline constexpr Field kPreviousDurable{"previous_durable", 32, 8};
inline constexpr Field kHeaderReserved{"reserved_0", 40, 4048};
inline constexpr Field kBlockXxh3{"block_xxh3", 4088, 8};
inline constexpr std::array kHeader{
    kMagic, kVersion, kLogId, kSegmentNumber, kPreviousDurable, kHeaderReserved, kBlockXxh3};

// The last block of a sealed segment; its first fields and its checksum stand as in the first one.
inline constexpr Field kFooterOffset{"footer_offset", 32, 8};
inline constexpr Field kFooterBytes{"footer_bytes", 40, 8};
inline constexpr Field kFooterXxh3{"footer_xxh3", 48, 8};
inline constexpr Field kTrailerReserved{"reserved_0", 56, 4032};
inline constexpr std::array kTrailer{kMagic,
                                     kVersion,
                                     kLogId,
                                     kSegmentNumber,
                                     kFooterOffset,
                                     kFooterBytes,
                                     kFooterXxh3,
                                     kTrailerReserved,
                                     kBlockXxh3};

// One record in the footer, and a part of its head.
inline constexpr Field kType{"type", 0, 4};
inline constexpr Field kHeadBytes{"head_bytes", 4, 4};
inline constexpr Field kOffset{"offset", 8, 8};
inline constexpr Field kSequence{"sequence", 16, 8};
inline constexpr Field kBytes{"bytes", 24, 8};
inline constexpr Field kTenant{"tenant", 32, 4};
inline constexpr Field kHeaderBytes{"header_bytes", 36, 4};
inline constexpr Field kRows{"rows", 40, 4};
inline constexpr Field kPreference{"preference", 44, 4};
inline constexpr Field kRowEnds{"row_ends", 48, 48};
inline constexpr Field kKey{"key", 96, 32};
inline constexpr Field kAnchor{"anchor", 128, 32};
inline constexpr Field kSpaceId{"space_id", 160, 32};
inline constexpr Field kEncodingId{"encoding_id", 192, 16};
inline constexpr std::array kEntry{kType,
                                   kHeadBytes,
                                   kOffset,
                                   kSequence,
                                   kBytes,
                                   kTenant,
                                   kHeaderBytes,
                                   kRows,
                                   kPreference,
                                   kRowEnds,
                                   kKey,
                                   kAnchor,
                                   kSpaceId,
                                   kEncodingId};
inline constexpr uint32_t kEntryBytes = 208;

// One of row_ends.
inline constexpr Field kRowSections{"sections", 0, 4};
inline constexpr Field kRowEnd{"end", 4, 4};
inline constexpr Field kRowQualityKl{"quality_kl", 8, 4};
inline constexpr std::array kRow{kRowSections, kRowEnd, kRowQualityKl};
inline constexpr uint32_t kRowBytes = 12;

inline constexpr Field kRecordStart{"magic", 0, 4};
inline constexpr Field kSections{"sections", 4, 4};
inline constexpr Field kHeadXxh3{"head_xxh3", 8, 8};
inline constexpr Field kRecordLogId{"log_id", 16, 16};
inline constexpr Field kRecordSegment{"segment_number", 32, 8};
inline constexpr Field kRecordEntry{"entry", 40, kEntryBytes};
inline constexpr std::array kHead{
    kRecordStart, kSections, kHeadXxh3, kRecordLogId, kRecordSegment, kRecordEntry};
inline constexpr uint32_t kHeadFixedBytes = 248;
inline constexpr uint32_t kHeadChecksummedFrom = kRecordLogId.at;  // up to head_bytes

inline constexpr Field kSectionEnd{"end", 0, 8};
inline constexpr Field kSectionXxh3{"xxh3", 8, 8};
inline constexpr std::array kSection{kSectionEnd, kSectionXxh3};
inline constexpr uint32_t kSectionBytes = 16;

inline constexpr Field kDeletedTenant{"tenant", 0, 4};
inline constexpr Field kDeletedKey{"key", 4, 32};
inline constexpr std::array kDeleted{kDeletedTenant, kDeletedKey};
inline constexpr uint32_t kDeletedBytes = 36;

}  // namespace sluice::store::layout
