// The oracle's `direct` (FORMAT.md, "Direct").
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

}  // namespace

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
