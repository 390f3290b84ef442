// The page container: header, refinement rows, section table, checksums (FORMAT.md, "Header" and
// "Sections").
//
// Not the encodings of the sections (codec.h). The daemon needs this file only: it moves sections
// and never looks inside. Pure functions over spans, any thread. Every byte read is untrusted.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/result.h"
#include "src/model/geometry.h"

namespace sluice::codec {

// How the sections of a page are coded. On disk and on the wire: DO NOT CHANGE THESE VALUES.
enum class Encoding : uint8_t {
  raw = 1,          // the elements as they are, any dtype
  direct = 2,       // lossless without a profile: f16, bf16, and f32 that is exactly one of these
  progressive = 3,  // lossy, with a profile that says how far
  archive = 4,      // reserved: refused as unsupported
};

// The level that a page has once this row and all rows before it are there.
// On disk and on the wire: DO NOT CHANGE THESE VALUES.
enum class Level : uint8_t { exact = 0, q1 = 1, q2 = 2, q3 = 3 };

// "direct", "q3"; "unknown" for a number that is none.
std::string_view encoding_name(Encoding encoding);
std::string_view level_name(Level level);

using EncodingId = std::array<uint8_t, 16>;

inline constexpr size_t kPageFixedBytes = 128;
inline constexpr size_t kPlaneEntryBytes = 16;
inline constexpr size_t kRowEntryBytes = 8;
inline constexpr size_t kSectionEntryBytes = 16;
inline constexpr size_t kRowsMax = 4;                // q3, q2, q1, exact
inline constexpr uint32_t kPageTokensStep = 32;      // n_tokens is a multiple: one token a lane
inline constexpr uint32_t kSectionElements = 32768;  // least elements of a section's widest plane

// Section flag: the section holds the source elements as they are. Other bits must be zero.
inline constexpr uint32_t kSectionStoredRaw = 1;

struct Row {
  Level level = Level::exact;
  uint32_t kl = 0;  // mean next-token KL up to this row, micro-nats, rounded up

  bool operator==(const Row&) const = default;
};

struct Section {
  uint32_t bytes = 0;
  uint32_t flags = 0;
  uint64_t xxh3 = 0;  // XXH3-64, seed 0, of the section's bytes

  bool operator==(const Section&) const = default;
};

// The header of one page. A value that parse_page_header or encode_page made holds together; one
// that was filled by hand goes through serialise_page_header, which checks it.
struct PageHeader {
  Hash32 page_key{};
  Hash32 profile_digest{};  // zeros: no profile
  Encoding encoding = Encoding::raw;
  uint32_t provenance_kl = 0;   // worst quality that the KV was computed on, micro-nats
  uint64_t first_position = 0;  // position of token 0
  PageGeometry geometry;        // planes carry the source dtype
  std::vector<DType> stored;    // one a plane: the dtype that the sections code
  uint32_t layers_per_section = 0;
  std::vector<Row> rows;
  std::vector<Section> sections;  // [row][layer group][plane]

  uint32_t layer_groups() const;
  size_t section_index(size_t row, uint32_t group, size_t plane) const;
  // Bytes of the serialised header; of header and all sections.
  uint64_t header_bytes() const;
  uint64_t page_bytes() const;
  // Offset of a section from the page's first byte. Complexity: linear in the index.
  uint64_t section_offset(size_t index) const;

  bool operator==(const PageHeader&) const = default;
};

// Sections that lie side by side: all planes of some layer groups of one row.
struct SectionRange {
  size_t first = 0;  // index of the first section
  size_t count = 0;
  uint64_t offset = 0;  // of the first section, from the page's first byte
  uint64_t bytes = 0;
  uint32_t first_layer = 0;  // the layers that these sections hold:
  uint32_t layers = 0;       // those asked for, rounded out to whole sections

  bool operator==(const SectionRange&) const = default;
};

// layers_per_section = ceil(32768 / (n_tokens x the widest plane)), at most the layer count.
uint32_t layers_per_section(const PageGeometry& geometry);

// Parses and checks the header at the front of `page`, which may go on behind it.
// The result owns its memory. Its sections need not be there: compare page_bytes().
// Errors: truncated, bad_magic, bad_version, too_large, bad_checksum, reserved_set, bad_value,
// unsupported (an encoding this version does not read).
Result<PageHeader> parse_page_header(ByteSpan page);

// The header's bytes with its checksum. Errors: as parse_page_header, for what the caller filled
// in.
Result<Bytes> serialise_page_header(const PageHeader& header);

// Bytes of the header at the front of `page`, for a reader that has only its first 128 bytes.
// Errors: truncated, bad_magic, bad_version, too_large.
Result<uint32_t> peek_header_bytes(ByteSpan page);

// The name of exactly this encoding of a page: the first 16 bytes of SHA-256 of the header's bytes.
// Requires: `header_bytes` is the header and nothing behind it.
EncodingId encoding_id(ByteSpan header_bytes);

// The sections of `row` that hold layers [first_layer, first_layer + layers).
// Errors: invalid_argument (row or layers out of range, or no layers).
Result<SectionRange> select_sections(const PageHeader& header,
                                     size_t row,
                                     uint32_t first_layer,
                                     uint32_t layers);

// Checks length and checksum of the sections of `range`; `bytes` begins at range.offset and may go
// on. Errors: truncated, bad_checksum; the text names section and offset.
Status verify_sections(const PageHeader& header, const SectionRange& range, ByteSpan bytes);

// How many rows, from the first on, are whole in a page of so many bytes.
size_t rows_within(const PageHeader& header, uint64_t page_bytes);

// Checks a whole page: header, length, every section. Returns the header.
// Errors: as parse_page_header; truncated, bad_checksum (names section and offset), bad_value
// (bytes behind the last section).
Result<PageHeader> verify_page(ByteSpan page);

}  // namespace sluice::codec
