#include "codec/lanes.h"

#include <bit>
#include <cstring>

namespace sluice::codec {
namespace {

// Bytes behind the last word that a step may read before it finds that there are none: three words
// a lane, and a vector's worth at the last of them.
constexpr size_t kReadAhead = 3 * sizeof(uint16_t) * kLanes + 32;

}  // namespace

uint32_t cost_of(uint32_t frequency) {
  constexpr uint32_t kBit = 128;
  uint32_t whole = static_cast<uint32_t>(std::bit_width(frequency)) - 1;
  uint64_t mantissa = uint64_t{frequency} << (31 - whole);  // [1, 2) in 1/2^31
  uint32_t log2 = whole;
  for (int bit = 0; bit < 8; ++bit) {
    mantissa = (mantissa * mantissa) >> 31;
    log2 = 2 * log2 + static_cast<uint32_t>(mantissa >> 32);
    mantissa >>= mantissa >> 32;
  }
  return (2 * kBit * kProbabilityBits - log2 + 1) / 2;
}

Error damaged_section(const SectionPlace& place, std::string_view what) {
  return SLUICE_ERR(
      Errc::damaged,
      "section {} at offset {}: its checksum is right, but {}; treat the page as a miss",
      place.index,
      place.offset,
      what);
}

Result<LaneDecoder> LaneDecoder::open(
    ByteSpan section, size_t states_at, size_t raw_bytes, const SectionPlace& place, Bytes& copy) {
  size_t words_at = states_at + kStatesBytes;
  size_t rest_bytes = raw_bytes - std::min(raw_bytes, kSeedBytes);
  size_t behind_states = section.size() - words_at;
  if (behind_states < rest_bytes || (behind_states - rest_bytes) % 2 != 0) {
    return damaged_section(place, "its length does not fit its head");
  }
  copy.resize(section.size() + kSeedBytes + kReadAhead);
  std::memcpy(copy.data(), section.data(), section.size());
  LaneDecoder lanes;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    lanes.cursor_.states[lane] = load_le<uint32_t>(copy.data() + states_at + 4 * lane);
    if (lanes.cursor_.states[lane] < kStateLow) {
      return damaged_section(place, "a coder state is below 2^16");
    }
  }
  lanes.cursor_.word = copy.data() + words_at;
  lanes.section_end_ = copy.data() + section.size();
  lanes.cursor_.words_end = lanes.section_end_ - rest_bytes;
  lanes.raw_bytes_ = raw_bytes;
  return lanes;
}

Result<ByteSpan> LaneDecoder::finish(const SectionPlace& place) {
  bool finished = cursor_.word == cursor_.words_end &&
                  std::all_of(cursor_.states.begin(), cursor_.states.end(), [](uint32_t s) {
                    return s >> 16 == 1;
                  });
  if (!finished) {
    return damaged_section(place, "its words do not end where the states do");
  }
  size_t seed_bytes = std::min(raw_bytes_, kSeedBytes);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    auto seed = static_cast<uint16_t>(cursor_.states[lane]);
    store_le(section_end_ + 2 * lane, seed);
    if (2 * lane >= seed_bytes && seed != 0) {
      return damaged_section(place, "its states end with bits that belong to nothing");
    }
  }
  return ByteSpan(cursor_.words_end, raw_bytes_);
}

LaneEncoder::LaneEncoder(ByteSpan raw, size_t words_max, std::vector<uint16_t>& words) {
  size_t seed_bytes = std::min(raw.size(), kSeedBytes);
  raw_ = raw.first(raw.size() - seed_bytes);
  const uint8_t* seed = raw_.data() + raw_.size();
  for (size_t lane = 0; lane < kLanes; ++lane) {
    sink_.states[lane] = kStateLow | load_le<uint16_t>(seed + 2 * lane);
  }
  words.resize(words_max + kSinkRoom);
  words_end_ = words.data() + words.size();
  sink_.words = words_end_;
}

size_t LaneEncoder::write(MutByteSpan out) const {
  auto words_bytes = 2 * static_cast<size_t>(words_end_ - sink_.words);
  size_t total = kStatesBytes + words_bytes + raw_.size();
  if (total > out.size()) {
    return 0;
  }
  uint8_t* at = out.data();
  for (uint32_t state : sink_.states) {
    store_le(at, state);
    at += sizeof state;
  }
  // Words are little-endian on every host that base/bytes.h accepts.
  std::memcpy(at, sink_.words, words_bytes);
  std::copy(raw_.begin(), raw_.end(), at + words_bytes);
  return total;
}

}  // namespace sluice::codec
