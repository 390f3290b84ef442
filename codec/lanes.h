// The coded part of a section: 32 interleaved rANS lanes and the raw bytes behind them (FORMAT.md,
// "Lanes"). `direct` and `progressive` put their own heads before it.
//
// Private to codec/. No allocation beyond the buffers that are passed in. Bytes that are decoded
// are untrusted.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"

namespace sluice::codec {

inline constexpr int kProbabilityBits = 12;
inline constexpr uint32_t kFrequencyTotal = 1u << kProbabilityBits;
inline constexpr uint32_t kLanes = 32;
inline constexpr size_t kStatesBytes = sizeof(uint32_t) * kLanes;
inline constexpr size_t kSeedBytes = sizeof(uint16_t) * kLanes;
inline constexpr uint32_t kStateLow = 1u << 16;  // states stay in [2^16, 2^32)

// The code that every table gives its escape; others are the encoding's matter, below 64.
inline constexpr uint8_t kEscapeCode = 31;

using LaneCodes = std::array<uint8_t, kLanes>;

struct SymbolRange {
  uint32_t frequency;
  uint32_t below;
};

// 128 x log2(4096 / frequency), rounded; integer steps, so that every encoder chooses alike.
uint32_t cost_of(uint32_t frequency);

// Where an error text places a section.
struct SectionPlace {
  size_t index = 0;
  uint64_t offset = 0;  // from the page's first byte
};

// The error of a section whose checksum is right and whose content is impossible.
Error damaged_section(const SectionPlace& place, std::string_view what);

struct DecodeTable {
  std::array<uint8_t, kFrequencyTotal> codes;  // by the state's low 12 bits
  std::array<uint32_t, 64> ranges{};           // by code: [31:16] frequency, [15:0] below

  // Gives the next `frequency` slots to a code; calls go upwards from `below` 0.
  void add(uint8_t code, uint32_t frequency, uint32_t below) {
    std::fill_n(codes.begin() + below, frequency, code);
    ranges[code] = frequency << 16 | below;
  }
};

// The 32 coder states and the words that they draw, in ascending order of the lanes. Words are not
// bounded: whoever decodes asks words_ran_out() after each step, in which a lane may draw three.
struct LaneCursor {
  alignas(32) std::array<uint32_t, kLanes> states;
  const uint8_t* word;
  const uint8_t* words_end;

  bool words_ran_out() const { return word > words_end; }

  // Decodes a symbol in every lane; true if one is the escape. table_of(lane) is a DecodeTable.
  template <class TableOf>
  bool decode_symbols(TableOf table_of, LaneCodes& codes) {
    uint32_t escapes = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const DecodeTable& table = table_of(lane);
      uint32_t slot = states[lane] & (kFrequencyTotal - 1);
      uint8_t code = table.codes[slot];
      uint32_t range = table.ranges[code];
      states[lane] = (range >> 16) * (states[lane] >> kProbabilityBits) + slot - (range & 0xffff);
      draw(lane);
      codes[lane] = code;
      escapes |= static_cast<uint32_t>(code == kEscapeCode);
    }
    return escapes != 0;
  }

  // Takes the next 1 to 16 bits of one lane as they are.
  uint32_t decode_bits(size_t lane, uint32_t bits) {
    uint32_t value = states[lane] & ((1u << bits) - 1);
    states[lane] >>= bits;
    draw(lane);
    return value;
  }

 private:
  // Without a branch: a fifth of the lanes draw a word, and nobody foresees which.
  void draw(size_t lane) {
    uint32_t draws = states[lane] < kStateLow;
    states[lane] = states[lane] << 16 * draws | (load_le<uint16_t>(word) & (0 - draws));
    word += sizeof(uint16_t) * draws;
  }
};

// The lanes of one section, from its states to its end.
class LaneDecoder {
 public:
  // Copies the section into `copy`, which must outlive the decoder: reads may run a little ahead,
  // and raw bytes become whole. Requires: section.size() >= states_at + kStatesBytes.
  // Errors: damaged.
  static Result<LaneDecoder> open(
      ByteSpan section, size_t states_at, size_t raw_bytes, const SectionPlace& place, Bytes& copy);

  LaneCursor& cursor() { return cursor_; }

  // Checks that all words are drawn and the states are where an encoder starts them; returns the
  // raw bytes, which lie in the copy. Errors: damaged.
  Result<ByteSpan> finish(const SectionPlace& place);

 private:
  LaneDecoder() = default;

  LaneCursor cursor_{};             // its words end where the raw bytes begin
  uint8_t* section_end_ = nullptr;  // where the last of them go, which travel in the states
  size_t raw_bytes_ = 0;
};

// The 32 coder states, run from the section's end to its front, and where their words go:
// downwards. Room for kSinkRoom words more than are put has to lie below.
struct LaneSink {
  alignas(32) std::array<uint32_t, kLanes> states;
  uint16_t* words;

  // Encodes a symbol in every lane. range_of(lane) is a SymbolRange that has a frequency.
  template <class RangeOf>
  void encode_symbols(RangeOf range_of) {
    for (size_t lane = kLanes; lane-- > 0;) {
      const SymbolRange& range = range_of(lane);
      uint32_t& state = states[lane];
      put(state, range.frequency << (32 - kProbabilityBits));
      state = (state / range.frequency << kProbabilityBits) + state % range.frequency + range.below;
    }
  }

  // What decode_bits takes; within a pass, lanes descend, and passes come in the opposite order.
  void encode_bits(size_t lane, uint32_t value, uint32_t bits) {
    put(states[lane], 1u << (32 - bits));
    states[lane] = states[lane] << bits | value;
  }

 private:
  // Moves a word out of a state that would leave [2^16, 2^32). Without a branch, as in the decoder:
  // the word is written each time, and counts only if it is moved.
  void put(uint32_t& state, uint32_t limit) {
    uint32_t moves = state >= limit;
    words[-1] = static_cast<uint16_t>(state);
    words -= moves;
    state >>= 16 * moves;
  }
};

inline constexpr size_t kSinkRoom = 8;

// The lanes of a section that is being written.
class LaneEncoder {
 public:
  // The states begin with the last raw bytes, so that they cost nothing. `words` grows to hold
  // `words_max`. Requires: raw.size() raw bytes, kSeedBytes zeros behind them.
  LaneEncoder(ByteSpan raw, size_t words_max, std::vector<uint16_t>& words);

  LaneSink& sink() { return sink_; }

  // Writes states, words and raw bytes; returns their number, 0 if `out` is too small.
  size_t write(MutByteSpan out) const;

 private:
  LaneSink sink_{};
  ByteSpan raw_;  // what does not travel in the states
  uint16_t* words_end_;
};

}  // namespace sluice::codec
