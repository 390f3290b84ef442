// The log's structures: what parses is encoded to the same bytes; nothing crashes or reads beyond.
//
// Input: one byte that says which structure, one that says whether checksums are made to fit, then
// the bytes.
#include <algorithm>

#include "src/base/checksum.h"
#include "store/log_format.h"
#include "store/log_layout.h"

namespace sluice::store {
namespace {

const LogPlace kPlace = {.log_id = {1, 2, 3}, .segment = 5, .offset = kBlockBytes};

void stamp(Bytes& bytes, uint32_t at, uint32_t from, size_t end) {
  store_le(bytes.data() + at, xxh3_64(ByteSpan(bytes).subspan(from, end - from)));
}

void head(Bytes bytes, bool fit) {
  if (fit && bytes.size() >= kLogHeadFixedBytes) {
    std::copy(kPlace.log_id.begin(), kPlace.log_id.end(), bytes.begin() + layout::kRecordLogId.at);
    store_le(bytes.data() + layout::kRecordSegment.at, kPlace.segment);
    store_le(bytes.data() + layout::kRecordEntry.at + layout::kOffset.at, kPlace.offset);
  }
  auto length = peek_head_bytes(bytes, kPlace);
  if (fit && length.has_value() && *length <= bytes.size()) {
    stamp(bytes, layout::kHeadXxh3.at, layout::kHeadChecksummedFrom, *length);
  }
  auto parsed = parse_head(bytes, kPlace);
  if (parsed.has_error()) {
    SLUICE_ASSERT(!parsed.error().text.empty());
    return;
  }
  Bytes again(parsed->entry.head_bytes);
  encode_head(kPlace, parsed->entry, parsed->sections, again);
  SLUICE_ASSERT(std::equal(again.begin(), again.end(), bytes.begin()));
  SLUICE_ASSERT(parsed->entry.extent_bytes() <= kExtentBytesMax);
  SLUICE_ASSERT(!parsed->entry.has_body() || parsed->record().bytes() == parsed->entry.bytes);
}

void header(Bytes bytes, bool fit) {
  bytes.resize(kBlockBytes);
  if (fit) {
    stamp(bytes, layout::kBlockXxh3.at, 0, layout::kBlockXxh3.at);
  }
  if (auto parsed = parse_segment_header(bytes); parsed.has_value()) {
    Bytes again(kBlockBytes);
    encode_segment_header(*parsed, again);
    SLUICE_ASSERT(again == bytes);
  }
}

// A sealed tail whose footer is the bytes and whose trailer fits.
void footer(const Bytes& bytes) {
  size_t entries = bytes.size() / kLogEntryBytes;
  Bytes tail(sealed_tail_bytes(entries));
  std::copy_n(bytes.begin(), entries * kLogEntryBytes, tail.begin());
  Trailer trailer{.log_id = kPlace.log_id,
                  .segment = kPlace.segment,
                  .footer_offset = 1 << 20,
                  .footer_bytes = entries * kLogEntryBytes,
                  .footer_xxh3 = xxh3_64(ByteSpan(tail).first(entries * kLogEntryBytes))};
  auto parsed = parse_footer(ByteSpan(tail).first(trailer.footer_bytes), trailer);
  if (parsed.has_value()) {
    Bytes again(tail.size());
    encode_sealed_tail({kPlace.log_id, kPlace.segment}, 1 << 20, *parsed, again);
    SLUICE_ASSERT(std::equal(again.begin(), again.end() - kBlockBytes, tail.begin()));
  }
}

void trailer(Bytes bytes, bool fit) {
  bytes.resize(kBlockBytes);
  if (fit) {
    stamp(bytes, layout::kBlockXxh3.at, 0, layout::kBlockXxh3.at);
  }
  SegmentHeader segment{.log_id = kPlace.log_id, .number = kPlace.segment};
  if (auto parsed = parse_trailer(bytes, segment, 1 << 20); parsed.has_value()) {
    SLUICE_ASSERT(parsed->footer_offset + parsed->footer_bytes + kBlockBytes <= 1 << 20);
  }
}

void deleted(const Bytes& bytes) {
  if (auto parsed = parse_deleted(bytes); parsed.has_value()) {
    Bytes again(bytes.size());
    encode_deleted(*parsed, again);
    SLUICE_ASSERT(again == bytes);
  }
}

}  // namespace
}  // namespace sluice::store

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::store;
  if (size < 2) {
    return 0;
  }
  sluice::Bytes bytes(data + 2, data + size);
  bool fit = data[1] % 2 != 0;
  switch (data[0] % 5) {
    case 0:
      head(std::move(bytes), fit);
      break;
    case 1:
      header(std::move(bytes), fit);
      break;
    case 2:
      footer(bytes);
      break;
    case 3:
      trailer(std::move(bytes), fit);
      break;
    default:
      deleted(bytes);
      break;
  }
  return 0;
}
