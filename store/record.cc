#include "store/record.h"

#include <algorithm>

namespace sluice::store {

namespace {

Status check_rows(const Record& record) {
  const RowEnds& rows = record.rows;
  if (rows.count > kRecordRowsMax) {
    return SLUICE_ERR(Errc::bad_value,
                      "record {}: {} rows, at most {}",
                      to_hex(record.key),
                      rows.count,
                      kRecordRowsMax);
  }
  const size_t stored = rows.count == 0 ? 0 : rows.last().sections;
  if (stored != record.sections.size()) {
    return SLUICE_ERR(Errc::bad_value,
                      "record {}: {} rows of {} sections, it has {}",
                      to_hex(record.key),
                      rows.count,
                      stored,
                      record.sections.size());
  }
  uint32_t sections = 0;
  for (uint32_t row = 0; row < rows.count; ++row) {
    const RowEnd& end = rows.ends[row];
    if (end.sections < sections || end.sections > stored ||
        end.end != record.section_begin(end.sections)) {
      return SLUICE_ERR(Errc::bad_value,
                        "record {}: row {} ends at {} behind {} sections, which do not end there",
                        to_hex(record.key),
                        row,
                        end.end,
                        end.sections);
    }
    sections = end.sections;
  }
  return {};
}

Status check_length(const Record& record, uint64_t length) {
  SLUICE_CHECK(check_layout(record));
  if (record.bytes() != length) {
    return SLUICE_ERR(Errc::truncated,
                      "record {}: {} bytes, expected {}",
                      to_hex(record.key),
                      length,
                      record.bytes());
  }
  return {};
}

// piece(at, length) gives the bytes to check.
template <class Piece>
Status verify_header(const Record& record, Piece piece) {
  EncodingId id = encoding_id_of(piece(0, record.header_bytes));
  if (id != record.encoding_id) {
    return SLUICE_ERR(Errc::bad_checksum,
                      "record {}: header at offset 0: its {} bytes hash to {}, stored {}",
                      to_hex(record.key),
                      record.header_bytes,
                      to_hex(id),
                      to_hex(record.encoding_id));
  }
  return {};
}

template <class Piece>
Status verify_run(const Record& record, const SectionRun& run, Piece piece) {
  if (uint64_t{run.first} + run.count > record.sections.size()) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "record {}: sections {} to {} of {}",
                      to_hex(record.key),
                      run.first,
                      uint64_t{run.first} + run.count,
                      record.sections.size());
  }
  for (size_t i = run.first; i < run.first + run.count; ++i) {
    const uint64_t at = record.section_begin(i);
    const SectionSum& section = record.sections[i];
    const uint64_t sum = xxh3_64(piece(at, section.end - at));
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
  }
  return {};
}

SectionRun all_sections(const Record& record) {
  return {.first = 0, .count = static_cast<uint32_t>(record.sections.size())};
}

}  // namespace

uint32_t RowEnds::within(uint32_t max_kl) const {
  for (uint32_t row = 0; row < count; ++row) {
    if (ends[row].quality_kl <= max_kl) {
      return row + 1;
    }
  }
  return 0;
}

void RowEnds::shorten(uint32_t rows) {
  SLUICE_ASSERT(rows >= 1 && rows <= count);
  std::fill(ends.begin() + rows, ends.end(), RowEnd{});
  count = rows;
}

void Record::shorten(uint32_t rows_left) {
  rows.shorten(rows_left);
  sections.resize(rows.last().sections);
}

EncodingId encoding_id_of(ByteSpan header) {
  Hash32 digest = sha256(header);
  EncodingId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

Status check_layout(const Record& record) {
  for (size_t i = 0; i < record.sections.size(); ++i) {
    if (record.sections[i].end < record.section_begin(i)) {
      return SLUICE_ERR(Errc::bad_value,
                        "record {}: section {} ends at {}, before its start at {}",
                        to_hex(record.key),
                        i,
                        record.sections[i].end,
                        record.section_begin(i));
    }
  }
  return check_rows(record);
}

Status verify(const Record& record, ByteSpan bytes) {
  return verify_runs(record, bytes, {{all_sections(record)}});
}

Status verify_runs(const Record& record, ByteSpan bytes, std::span<const SectionRun> runs) {
  SLUICE_CHECK(check_length(record, bytes.size()));
  auto piece = [&](uint64_t at, uint64_t length) { return bytes.subspan(at, length); };
  SLUICE_CHECK(verify_header(record, piece));
  for (const SectionRun& run : runs) {
    SLUICE_CHECK(verify_run(record, run, piece));
  }
  return {};
}

Status copy_verified(const Record& record, ByteSpan bytes, MutByteSpan copy) {
  SLUICE_ASSERT(copy.size() == bytes.size());
  SLUICE_CHECK(check_length(record, bytes.size()));
  auto piece = [&](uint64_t at, uint64_t length) -> ByteSpan {
    MutByteSpan to = copy.subspan(at, length);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at), length, to.begin());
    return to;
  };
  SLUICE_CHECK(verify_header(record, piece));
  return verify_run(record, all_sections(record), piece);
}

}  // namespace sluice::store
