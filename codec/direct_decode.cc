#include <algorithm>
#include <array>
#include <cstring>

#include "codec/direct.h"

namespace sluice::codec {
namespace {

// Symbols as the decoder wants them: bit 5 the coded sign, bits 4..0 the cell; 31 is the escape.
constexpr uint8_t kSignBit = 32;
constexpr uint8_t kCellMask = 31;
constexpr uint8_t kEscapeSymbol = 31;

// Bytes behind the last word that a step may read before it finds that there are none: one word a
// lane.
constexpr size_t kReadAhead = 2 * kDirectLanes;

struct DecodeTable {
  std::array<uint8_t, 1 << kDirectProbabilityBits> symbols;  // by the state's low 12 bits
  std::array<uint32_t, 64> ranges{};                         // [31:16] frequency, [15:0] below
};

// The same tables as in the ROM, by slot. 51 KiB in all; pages mostly use a third of them.
const std::array<DecodeTable, kDirectTables>& decode_tables() {
  static const std::array<DecodeTable, kDirectTables> tables = [] {
    std::array<DecodeTable, kDirectTables> built;
    for (size_t t = 0; t < kDirectTables; ++t) {
      uint32_t below = 0;
      for (uint32_t s = 0; s < kDirectSymbols; ++s) {
        uint32_t frequency = kDirectFrequencies[t][s];
        auto symbol = static_cast<uint8_t>(
            s == kDirectEscape ? kEscapeSymbol : s / kDirectCells * kSignBit + s % kDirectCells);
        std::fill_n(built[t].symbols.begin() + below, frequency, symbol);
        built[t].ranges[symbol] = frequency << 16 | below;
        below += frequency;
      }
    }
    return built;
  }();
  return tables;
}

// The 32 coder states and the words that they draw, in ascending order of the lanes.
class LaneDecoder {
 public:
  // Requires: kReadAhead readable bytes behind words_end.
  LaneDecoder(const uint8_t* states, const uint8_t* words, const uint8_t* words_end)
      : word_(words), words_end_(words_end) {
    for (size_t lane = 0; lane < kDirectLanes; ++lane) {
      states_[lane] = load_le<uint32_t>(states + 4 * lane);
    }
  }

  // States below 2^16 are none that an encoder leaves.
  bool states_valid() const {
    return std::all_of(
        states_.begin(), states_.end(), [](uint32_t state) { return state >= kDirectStateLow; });
  }

  // Decodes one step: sign and cell of 32 tokens of one channel, low bits zero.
  // False: the words ran out.
  bool decode_step(const DirectModel& model, uint32_t low_bits, uint16_t* values) {
    const DecodeTable& table = decode_tables()[model.table];
    std::array<uint8_t, kDirectLanes> symbols;
    uint32_t escapes = 0;
    const uint8_t* word = word_;
    for (size_t lane = 0; lane < kDirectLanes; ++lane) {
      uint32_t state = states_[lane];
      uint32_t slot = state & ((1u << kDirectProbabilityBits) - 1);
      uint8_t symbol = table.symbols[slot];
      uint32_t range = table.ranges[symbol];
      state = (range >> 16) * (state >> kDirectProbabilityBits) + slot - (range & 0xffff);
      // Without a branch: a fifth of the lanes draw a word, and nobody foresees which.
      uint32_t draws = state < kDirectStateLow;
      states_[lane] = state << 16 * draws | (load_le<uint16_t>(word) & (0 - draws));
      word += 2 * draws;
      symbols[lane] = symbol;
      escapes |= static_cast<uint32_t>(symbol == kEscapeSymbol);
    }
    word_ = word;
    auto first_cell = static_cast<uint32_t>(model.first_cell);
    for (size_t lane = 0; lane < kDirectLanes; ++lane) {
      uint32_t magnitude = ((symbols[lane] & kCellMask) + first_cell) << low_bits & 0x7fff;
      uint32_t sign = (symbols[lane] / kSignBit) ^ model.flip;
      values[lane] = static_cast<uint16_t>(sign << 15 | magnitude);
    }
    return word_ <= words_end_ && (escapes == 0 || decode_escapes(symbols, low_bits, values));
  }

  // True at the right end: all words drawn, and the states where an encoder starts them.
  bool finished() const {
    return word_ == words_end_ &&
           std::all_of(states_.begin(), states_.end(), [](uint32_t s) { return s >> 16 == 1; });
  }

  uint16_t seed(size_t lane) const { return static_cast<uint16_t>(states_[lane]); }

 private:
  // The lanes with an escape draw sign and cell as they are.
  bool decode_escapes(const std::array<uint8_t, kDirectLanes>& symbols,
                      uint32_t low_bits,
                      uint16_t* values) {
    uint32_t bits = 16 - low_bits;
    for (size_t lane = 0; lane < kDirectLanes; ++lane) {
      if (symbols[lane] == kEscapeSymbol) {
        uint32_t& state = states_[lane];
        values[lane] = static_cast<uint16_t>((state & ((1u << bits) - 1)) << low_bits);
        state >>= bits;
        if (state < kDirectStateLow) {
          state = state << 16 | load_le<uint16_t>(word_);
          word_ += 2;
        }
      }
    }
    return word_ <= words_end_;
  }

  std::array<uint32_t, kDirectLanes> states_;
  const uint8_t* word_;
  const uint8_t* words_end_;
};

// Adds the low bits of one channel. Requires: 3 readable bytes behind them.
template <uint32_t kLowBits>
void add_low_bits(const uint8_t* bits, std::span<uint16_t> channel) {
  for (size_t token = 0; token < channel.size(); token += kDirectLanes) {
    for (size_t lane = 0; lane < kDirectLanes; ++lane) {
      size_t at = lane * kLowBits;
      uint32_t low = load_le<uint32_t>(bits + at / 8) >> at % 8 & ((1u << kLowBits) - 1);
      channel[token + lane] = static_cast<uint16_t>(channel[token + lane] | low);
    }
    bits += kLowBits * kDirectLanes / 8;
  }
}

void add_raw_bits(const DirectShape& shape,
                  ByteSpan tags,
                  const uint8_t* bits,
                  std::span<uint16_t> values) {
  for (size_t c = 0; c < tags.size(); ++c) {
    std::span<uint16_t> channel = values.subspan(c * shape.n_tokens, shape.n_tokens);
    if (tags[c] == kDirectTagConstant) {
      std::fill(channel.begin(), channel.end(), load_le<uint16_t>(bits));
    } else if (tags[c] == kDirectTagRaw) {
      std::memcpy(channel.data(), bits, channel.size_bytes());
    } else if (shape.mantissa_bits == 10) {
      add_low_bits<9>(bits, channel);
    } else {
      add_low_bits<6>(bits, channel);
    }
    bits += shape.raw_bytes(tags[c]);
  }
}

Error damaged(const SectionPlace& place, std::string_view what) {
  return SLUICE_ERR(
      Errc::damaged,
      "section {} at offset {}: its checksum is right, but {}; treat the page as a miss",
      place.index,
      place.offset,
      what);
}

// Decodes every coded channel's signs and cells. False: the words ran out.
bool decode_cells(const DirectShape& shape,
                  ByteSpan references,
                  ByteSpan tags,
                  std::span<uint16_t> values,
                  LaneDecoder& lanes) {
  for (size_t c = 0; c < tags.size(); ++c) {
    if (tags[c] >= kDirectCodedTags) {
      continue;
    }
    auto reference = load_le<uint16_t>(references.data() + 2 * (c / shape.channels));
    DirectModel model = direct_model(tags[c], reference);
    uint16_t* channel = values.data() + c * shape.n_tokens;
    for (size_t token = 0; token < shape.n_tokens; token += kDirectLanes) {
      if (!lanes.decode_step(model, shape.low_bits(), channel + token)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

size_t DirectShape::raw_bytes(uint8_t tag) const {
  if (tag == kDirectTagConstant) {
    return 2;
  }
  return size_t{n_tokens} * (tag == kDirectTagRaw ? 16 : low_bits()) / 8;
}

DirectModel direct_model(uint8_t tag, uint16_t reference) {
  int centre = reference - tag / kDirectShapes;
  uint32_t shape = tag % kDirectShapes;
  return {.table = (shape + 1) / 2 * 2 + static_cast<uint32_t>(centre & 1),
          .flip = shape != 0 && shape % 2 == 0,
          .first_cell = centre - kDirectCellsBelow};
}

Status decode_direct(const DirectShape& shape,
                     ByteSpan section,
                     const SectionPlace& place,
                     std::span<uint16_t> values,
                     Workspace& workspace) {
  if (section.size() < shape.words_at()) {
    return damaged(place, "it ends before its states do");
  }
  // A copy, so that the raw bits can be made whole and reads may run a little ahead.
  workspace.bytes.resize(section.size() + kDirectSeedBytes + kReadAhead);
  uint8_t* base = workspace.bytes.data();
  std::memcpy(base, section.data(), section.size());
  ByteSpan references(base, shape.references_bytes());
  ByteSpan tags(base + references.size(), shape.channel_count());

  size_t raw_bytes = 0;
  for (uint8_t tag : tags) {
    if (tag >= kDirectCodedTags && tag < kDirectTagConstant) {
      return damaged(place, "a channel has an unknown tag");
    }
    raw_bytes += shape.raw_bytes(tag);
  }
  size_t seed_bytes = std::min(raw_bytes, kDirectSeedBytes);
  size_t behind_states = section.size() - shape.words_at();
  if (behind_states < raw_bytes - seed_bytes ||
      (behind_states - (raw_bytes - seed_bytes)) % 2 != 0) {
    return damaged(place, "its length does not fit its tags");
  }
  size_t raw_at = section.size() - (raw_bytes - seed_bytes);

  LaneDecoder lanes(base + shape.states_at(), base + shape.words_at(), base + raw_at);
  if (!lanes.states_valid()) {
    return damaged(place, "a coder state is below 2^16");
  }
  if (!decode_cells(shape, references, tags, values, lanes) || !lanes.finished()) {
    return damaged(place, "its words do not end where the states do");
  }
  for (size_t lane = 0; lane < kDirectLanes; ++lane) {
    uint8_t* seed = base + section.size() + 2 * lane;
    store_le(seed, lanes.seed(lane));
    if (2 * lane >= seed_bytes && lanes.seed(lane) != 0) {
      return damaged(place, "its states end with bits that belong to nothing");
    }
  }
  add_raw_bits(shape, tags, base + raw_at, values);
  return {};
}

}  // namespace sluice::codec
