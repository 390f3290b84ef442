// Records with random bytes whose checksums agree, for the tests of this folder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "src/base/prng.h"
#include "store/record.h"

namespace sluice::store {

// A key that says its number: tests read them in failures.
inline Key key_of(uint64_t number) {
  Key key{};
  store_le<uint64_t>(key.data(), number + 1);
  return key;
}

// Gives the record rows of so many sections; each makes it 10 micro-nats better, the last one
// exact.
inline void set_rows(Record& record, uint32_t sections_a_row) {
  const auto sections = static_cast<uint32_t>(record.sections.size());
  const uint32_t rows = std::max(1u, sections / std::max(1u, sections_a_row));
  record.rows = {.count = rows};
  for (uint32_t row = 0; row < rows; ++row) {
    const uint32_t count = row + 1 == rows ? sections : (row + 1) * sections_a_row;
    record.rows.ends[row] = {.sections = count,
                             .end = static_cast<uint32_t>(record.section_begin(count)),
                             .quality_kl = 10 * (rows - row - 1)};
  }
}

struct SampleSpec {
  uint64_t seed = 0;
  size_t bytes = 1000;
  uint32_t tenant = 0;
  Key key = key_of(0);
  Key anchor = kNoAnchor;
  uint32_t header_bytes = 24;
  uint32_t sections = 3;
  bool row_a_section = false;  // rows end behind every section, else behind the last
};

struct Sample {
  Record record;
  Bytes bytes;
};

// Random bytes of that length, cut into sections of unequal length; only a header where the length
// is not beyond it.
inline Sample make_sample(const SampleSpec& spec) {
  Prng prng(spec.seed);
  Sample sample;
  sample.bytes.resize(std::max<size_t>(spec.bytes, spec.header_bytes));
  for (uint8_t& byte : sample.bytes) {
    byte = static_cast<uint8_t>(prng.next());
  }
  Record& record = sample.record;
  record.tenant = spec.tenant;
  record.key = spec.key;
  record.anchor = spec.anchor;
  record.header_bytes = spec.header_bytes;
  record.encoding_id = encoding_id_of(ByteSpan(sample.bytes).first(spec.header_bytes));
  uint64_t at = spec.header_bytes;
  for (uint32_t i = 1; at < sample.bytes.size() && i <= spec.sections; ++i) {
    uint64_t rest = sample.bytes.size() - at;
    uint64_t length = i == spec.sections ? rest : prng.below(rest + 1);
    record.sections.push_back(
        {.end = at + length, .xxh3 = xxh3_64(ByteSpan(sample.bytes).subspan(at, length))});
    at += length;
  }
  set_rows(record, spec.row_a_section ? 1 : spec.sections);
  return sample;
}

}  // namespace sluice::store
