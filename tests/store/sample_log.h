// A small valid segment in memory, for the tests of the log's bytes.
#pragma once

#include <algorithm>
#include <numeric>

#include "store/log_format.h"
#include "tests/store/sample_record.h"

namespace sluice::store {

inline LogId sample_log_id() {
  LogId id;
  std::iota(id.begin(), id.end(), uint8_t{0});
  return id;
}

// The record of FORMAT.md's example.
inline Sample example_record() {
  Sample sample;
  ByteSpan text = as_bytes("headsection");
  sample.bytes.assign(text.begin(), text.end());
  Record& record = sample.record;
  record.tenant = 7;
  record.key.fill(0xaa);
  record.space_id.fill(0xbb);
  record.header_bytes = 4;
  record.encoding_id = encoding_id_of(text.first(4));
  record.sections = {{.end = 11, .xxh3 = xxh3_64(text.subspan(4))}};
  set_rows(record, 1);
  return sample;
}

struct SampleSegment {
  SegmentHeader header;
  std::vector<LogEntry> entries;
  Bytes file;

  LogPlace place(size_t i) const { return {header.log_id, header.number, entries[i].offset}; }
};

// A sealed segment with these pages.
inline SampleSegment make_segment(uint64_t number, std::span<const Sample> pages) {
  SampleSegment out;
  out.header = {.log_id = sample_log_id(), .number = number};
  out.file.resize(kBlockBytes);
  encode_segment_header(out.header, out.file);
  for (const Sample& page : pages) {
    LogEntry entry = entry_of(EntryType::page, page.record);
    entry.offset = out.file.size();
    entry.sequence = sequence_of(number, out.entries.size() + 1);
    out.entries.push_back(entry);
    out.file.resize(entry.offset + entry.extent_bytes());
    MutByteSpan extent = MutByteSpan(out.file).subspan(entry.offset);
    encode_head(out.place(out.entries.size() - 1),
                entry,
                page.record.sections,
                extent.first(entry.head_bytes));
    std::copy(page.bytes.begin(), page.bytes.end(), extent.begin() + entry.head_bytes);
  }
  uint64_t end = out.file.size();
  out.file.resize(end + sealed_tail_bytes(out.entries.size()));
  encode_sealed_tail(out.header, end, out.entries, MutByteSpan(out.file).subspan(end));
  return out;
}

}  // namespace sluice::store
