#include "store/record.h"

#include <algorithm>

namespace sluice::store {

namespace {

Status verify_layout(const Record& record, uint64_t length) {
  uint64_t at = record.header_bytes;
  for (size_t i = 0; i < record.sections.size(); ++i) {
    if (record.sections[i].end < at) {
      return SLUICE_ERR(Errc::bad_value,
                        "record {}: section {} ends at {}, before its start at {}",
                        to_hex(record.key),
                        i,
                        record.sections[i].end,
                        at);
    }
    at = record.sections[i].end;
  }
  if (at != length) {
    return SLUICE_ERR(
        Errc::truncated, "record {}: {} bytes, expected {}", to_hex(record.key), length, at);
  }
  return {};
}

// piece(at, length) gives the bytes to check, first to last.
template <class Piece>
Status verify_pieces(const Record& record, uint64_t length, Piece piece) {
  SLUICE_CHECK(verify_layout(record, length));
  EncodingId id = encoding_id_of(piece(0, record.header_bytes));
  if (id != record.encoding_id) {
    return SLUICE_ERR(Errc::bad_checksum,
                      "record {}: header at offset 0: its {} bytes hash to {}, stored {}",
                      to_hex(record.key),
                      record.header_bytes,
                      to_hex(id),
                      to_hex(record.encoding_id));
  }
  uint64_t at = record.header_bytes;
  for (size_t i = 0; i < record.sections.size(); ++i) {
    const SectionSum& section = record.sections[i];
    uint64_t sum = xxh3_64(piece(at, section.end - at));
    if (sum != section.xxh3) {
      return SLUICE_ERR(Errc::bad_checksum,
                        "record {}: section {} at offset {}: its {} bytes hash to {:#x}, stored "
                        "{:#x}",
                        to_hex(record.key),
                        i,
                        at,
                        section.end - at,
                        sum,
                        section.xxh3);
    }
    at = section.end;
  }
  return {};
}

}  // namespace

EncodingId encoding_id_of(ByteSpan header) {
  Hash32 digest = sha256(header);
  EncodingId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

Status verify(const Record& record, ByteSpan bytes) {
  return verify_pieces(record, bytes.size(), [&](uint64_t at, uint64_t length) {
    return bytes.subspan(at, length);
  });
}

Status copy_verified(const Record& record, ByteSpan bytes, MutByteSpan copy) {
  SLUICE_ASSERT(copy.size() == bytes.size());
  return verify_pieces(record, bytes.size(), [&](uint64_t at, uint64_t length) -> ByteSpan {
    MutByteSpan to = copy.subspan(at, length);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at), length, to.begin());
    return to;
  });
}

}  // namespace sluice::store
