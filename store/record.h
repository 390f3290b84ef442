// One stored record: who owns it, what it hangs on, and how to tell that its bytes are whole.
//
// Not its bytes (arena.h) and not what they mean: a page's header is opaque here, its tensors more
// so. A record is a header, which encoding_id is the hash of, and sections behind it, each with a
// checksum of its own. In a tier that outlives the process a descriptor is a record too: key =
// space_id, no anchor, the descriptor's bytes as the header, no sections. Pure values, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/result.h"

namespace sluice::store {

using Key = Hash32;
using EncodingId = std::array<uint8_t, 16>;

inline constexpr Key kNoAnchor{};  // of a record that hangs on no other: a root

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
  bool cut = false;  // the record may be shortened to end here

  bool operator==(const SectionSum&) const = default;
};

struct Record {
  uint32_t tenant = 0;
  Key key{};
  Key anchor = kNoAnchor;  // the record that this one is of no use without
  Hash32 space_id{};
  EncodingId encoding_id{};  // encoding_id_of() the header
  uint32_t header_bytes = 0;
  uint32_t rows = 0;        // refinements stored
  uint32_t quality_kl = 0;  // of all stored rows, micro-nats; provenance included
  uint32_t preference = 0;  // at equal quality the higher one replaces the lower
  std::vector<SectionSum> sections;

  // Header and sections.
  uint64_t bytes() const { return sections.empty() ? header_bytes : sections.back().end; }

  bool operator==(const Record&) const = default;
};

// First 16 bytes of the header's SHA-256.
EncodingId encoding_id_of(ByteSpan header);

// Checks that `bytes` are the record's: length, the header's hash, each section's checksum.
// Errors: bad_value (section ends out of order), truncated (another length than the record's),
// bad_checksum (names header or section, and offset).
Status verify(const Record& record, ByteSpan bytes);

// Copies `bytes` and checks the copy, a section at a time while it is in the cache. Requires:
// `copy` is as long. Errors: as verify(); what `copy` holds then is not the record.
Status copy_verified(const Record& record, ByteSpan bytes, MutByteSpan copy);

}  // namespace sluice::store
