// One stored record: who owns it, what it hangs on, and how to tell that its bytes are whole.
//
// Not its bytes (arena.h) and not what they mean: a page's header is opaque here, its tensors more
// so. A record is a header, which encoding_id is the hash of, and sections behind it, each with a
// checksum of its own, in rows: it may be shortened to end after any of these. In a tier that
// outlives the process a descriptor is a record too: key = space_id, no anchor, the descriptor's
// bytes as the header, no sections. Pure values, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/result.h"

namespace sluice::store {

using Key = Hash32;
using EncodingId = std::array<uint8_t, 16>;

inline constexpr Key kNoAnchor{};  // of a record that hangs on no other: a root
inline constexpr uint32_t kRecordRowsMax = 4;

// Keys are SHA-256 digests: any 8 bytes of one are a hash.
struct KeyHash {
  size_t operator()(const Key& key) const { return load_le<uint64_t>(key.data()); }
};

// Whose record it is and under which key: what a tier finds it by.
struct RecordId {
  uint32_t tenant = 0;
  Key key{};

  auto operator<=>(const RecordId&) const = default;
};

struct RecordIdHash {
  size_t operator()(const RecordId& id) const { return KeyHash()(id.key) ^ id.tenant; }
};

// Where a section ends and what its bytes hash to. It begins where the one before it, or the
// header, ends.
struct SectionSum {
  uint64_t end = 0;  // from the record's first byte
  uint64_t xxh3 = 0;

  bool operator==(const SectionSum&) const = default;
};

// What a record is if it ends after a row.
struct RowEnd {
  uint32_t sections = 0;    // of this row and those before
  uint32_t end = 0;         // of the last of them, from the record's first byte
  uint32_t quality_kl = 0;  // of all these rows, micro-nats; provenance included

  bool operator==(const RowEnd&) const = default;
};

// Rows of a record: those that are stored, from the first on.
struct RowEnds {
  uint32_t count = 0;
  std::array<RowEnd, kRecordRowsMax> ends{};  // zeros behind the last one

  // Requires: count is not 0.
  const RowEnd& last() const { return ends[count - 1]; }

  // The fewest rows whose quality is within max_kl; 0 where not even all of them are.
  uint32_t within(uint32_t max_kl) const;
  // Requires: count is not 0, rows is 1 to count.
  void shorten(uint32_t rows);

  bool operator==(const RowEnds&) const = default;
};

// Sections that lie side by side.
struct SectionRun {
  uint32_t first = 0;
  uint32_t count = 0;

  bool operator==(const SectionRun&) const = default;
};

// What somebody wants of a record: the header, and sections of its first rows.
struct RecordPart {
  uint32_t rows = 0;
  std::vector<SectionRun> runs;  // ascending

  // All sections of these rows. Requires: there are as many.
  static RecordPart of_rows(const RowEnds& there, uint32_t rows) {
    return {.rows = rows, .runs = {{.first = 0, .count = there.ends[rows - 1].sections}}};
  }

  bool operator==(const RecordPart&) const = default;
};

struct Record {
  uint32_t tenant = 0;
  Key key{};
  Key anchor = kNoAnchor;  // the record that this one is of no use without
  Hash32 space_id{};
  EncodingId encoding_id{};  // encoding_id_of() the header
  uint32_t header_bytes = 0;
  RowEnds rows;             // none of a record without sections that are served
  uint32_t preference = 0;  // at equal quality the higher one replaces the lower
  std::vector<SectionSum> sections;

  // Header and sections.
  uint64_t bytes() const { return sections.empty() ? header_bytes : sections.back().end; }

  // Where a section begins. Requires: section is at most their count.
  uint64_t section_begin(size_t section) const {
    return section == 0 ? header_bytes : sections[section - 1].end;
  }

  // Of all stored rows, micro-nats; provenance included.
  uint32_t quality_kl() const { return rows.count == 0 ? 0 : rows.last().quality_kl; }

  // Takes the rows behind the first `rows` away. Requires: rows is 1 to those that are there.
  void shorten(uint32_t rows_left);

  bool operator==(const Record&) const = default;
};

// First 16 bytes of the header's SHA-256.
EncodingId encoding_id_of(ByteSpan header);

// Checks that the sections end in order, and the rows where sections do. Errors: bad_value.
Status check_layout(const Record& record);

// Checks that `bytes` are the record's: length, the header's hash, each section's checksum.
// Errors: bad_value (section ends out of order), truncated (another length than the record's),
// bad_checksum (names header or section, and offset).
Status verify(const Record& record, ByteSpan bytes);

// The same of the header and of some sections only: the others' bytes are not looked at.
// Errors: as verify(); invalid_argument (a run that goes beyond the sections).
Status verify_runs(const Record& record, ByteSpan bytes, std::span<const SectionRun> runs);

// Copies `bytes` and checks the copy, a section at a time while it is in the cache. Requires:
// `copy` is as long. Errors: as verify(); what `copy` holds then is not the record.
Status copy_verified(const Record& record, ByteSpan bytes, MutByteSpan copy);

}  // namespace sluice::store
