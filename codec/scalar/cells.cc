// The oracle's `direct` (FORMAT.md, "Direct").
#include <algorithm>

#include "codec/direct_tables.h"
#include "codec/scalar/scalar.h"

namespace sluice::codec::scalar {
namespace {

// Decodes one step: sign and cell of 32 tokens of one channel, low bits zero.
// False: the words ran out.
bool decode_step(LaneCursor& lanes, const DirectModel& model, uint32_t low_bits, uint16_t* values) {
  LaneCodes codes;
  bool escapes = lanes.decode_symbols(
      [&](size_t) -> const DecodeTable& { return direct_tables()[model.table]; }, codes);
  auto first_cell = static_cast<uint32_t>(model.first_cell);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    uint32_t magnitude = ((codes[lane] & kCellMask) + first_cell) << low_bits & 0x7fff;
    uint32_t sign = (codes[lane] / kSignBit) ^ model.flip;
    values[lane] = static_cast<uint16_t>(sign << 15 | magnitude);
  }
  // The lanes with an escape draw sign and cell as they are.
  for (size_t lane = 0; escapes && lane < kLanes; ++lane) {
    if (codes[lane] == kEscapeCode) {
      values[lane] = static_cast<uint16_t>(lanes.decode_bits(lane, 16 - low_bits) << low_bits);
    }
  }
  return !lanes.words_ran_out();
}

// Adds the low bits of one channel. Requires: 3 readable bytes behind them.
template <uint32_t kLowBits>
void add_low_bits_of(const uint8_t* bits, std::span<uint16_t> channel) {
  for (size_t token = 0; token < channel.size(); token += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      size_t at = lane * kLowBits;
      uint32_t low = load_le<uint32_t>(bits + at / 8) >> at % 8 & ((1u << kLowBits) - 1);
      channel[token + lane] = static_cast<uint16_t>(channel[token + lane] | low);
    }
    bits += kLowBits * kLanes / 8;
  }
}

// Encodes one step: 32 tokens of one channel.
void encode_step(LaneSink& lanes,
                 const DirectModel& model,
                 const uint16_t* values,
                 uint32_t low_bits) {
  LaneCodes symbols;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    int cell = ((values[lane] & 0x7fff) >> low_bits) - model.first_cell;
    bool escapes = cell < 0 || cell >= kDirectCells;
    uint32_t sign = (values[lane] >> 15) ^ model.flip;
    symbols[lane] = static_cast<uint8_t>(escapes ? kDirectEscape
                                                 : static_cast<int>(sign) * kDirectCells + cell);
  }
  for (size_t lane = kLanes; lane-- > 0;) {
    if (symbols[lane] == kDirectEscape) {
      lanes.encode_bits(lane, values[lane] >> low_bits, 16 - low_bits);
    }
  }
  lanes.encode_symbols([&](size_t lane) -> const SymbolRange& {
    return direct_ranges()[model.table][symbols[lane]];
  });
}

}  // namespace

uint16_t centre_of(std::span<const uint16_t> channel, uint32_t mantissa_bits) {
  auto count = static_cast<uint32_t>(channel.size());
  uint32_t sum = 0;
  for (uint16_t value : channel) {
    sum += value & 0x7fffu;
  }
  int32_t mean = static_cast<int32_t>(sum / count);
  int32_t low = mean - (3 << mantissa_bits);
  int32_t high = mean + (3 << mantissa_bits);
  int64_t clamped = 0;
  for (uint16_t value : channel) {
    clamped += std::clamp(value & 0x7fff, low, high);
  }
  // Two cells an octave: round(2 x clamped / count / 2^mantissa_bits).
  int64_t octave = int64_t{count} << mantissa_bits;
  int64_t centre = (4 * clamped + octave) / (2 * octave);
  return static_cast<uint16_t>(std::max<int64_t>(centre, 0));
}

void weigh_tags(const DirectShape& shape,
                std::span<const uint16_t> channel,
                int centre,
                TagCosts& costs) {
  const ValueCosts& table = value_costs_of_tags(shape.low_bits(), (centre - 1) % 2 != 0);
  const int first_cell = centre - 1 - kDirectCellsBelow;
  for (uint16_t value : channel) {
    const int cell = ((value & 0x7fff) >> shape.low_bits()) - first_cell;
    const auto slot = static_cast<size_t>(std::clamp(cell, -1, kTagSlots - 2) + 1);
    const auto& row = table[value >> 15][slot];
    for (size_t i = 0; i < row.size(); ++i) {
      for (size_t s = 0; s < row[i].size(); ++s) {
        costs[i][s] += row[i][s];
      }
    }
  }
}

void pack_low_bits(const uint16_t* values, uint32_t low_bits, size_t n_tokens, uint8_t* out) {
  uint64_t held = 0;
  uint32_t held_bits = 0;
  for (size_t token = 0; token < n_tokens; ++token) {
    held |= uint64_t{values[token] & ((1u << low_bits) - 1)} << held_bits;
    held_bits += low_bits;
    for (; held_bits >= 8; held_bits -= 8, held >>= 8) {
      *out++ = static_cast<uint8_t>(held);
    }
  }
}

void encode_cells(LaneSink& lanes,
                  const DirectShape& shape,
                  const DirectTags& tags,
                  const uint16_t* values) {
  for (size_t c = tags.tags.size(); c-- > 0;) {
    for (size_t token = shape.n_tokens; tags.is_coded(c) && token > 0; token -= kLanes) {
      encode_step(lanes,
                  direct_model(shape, tags, c),
                  values + c * shape.n_tokens + token - kLanes,
                  shape.low_bits());
    }
  }
}

bool decode_cells(LaneCursor& lanes,
                  const DirectShape& shape,
                  const DirectTags& tags,
                  uint16_t* values) {
  for (size_t channel = 0; channel < tags.tags.size(); ++channel) {
    uint16_t* row = values + channel * shape.n_tokens;
    for (size_t token = 0; tags.is_coded(channel) && token < shape.n_tokens; token += kLanes) {
      if (!decode_step(lanes, direct_model(shape, tags, channel), shape.low_bits(), row + token)) {
        return false;
      }
    }
  }
  return true;
}

void add_low_bits(const uint8_t* bits, uint32_t low_bits, size_t n_tokens, uint16_t* values) {
  if (low_bits == 9) {
    add_low_bits_of<9>(bits, {values, n_tokens});
  } else {
    add_low_bits_of<6>(bits, {values, n_tokens});
  }
}

}  // namespace sluice::codec::scalar
