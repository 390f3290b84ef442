// The oracle's first rows (FORMAT.md, "Symbols").
#include <algorithm>

#include "codec/progressive_tables.h"
#include "codec/scalar/scalar.h"

namespace sluice::codec::scalar {
namespace {

// Draws low bits, and escaped values as they are. False: one is no value.
bool decode_extra_bits(LaneCursor& lanes,
                       const LaneCodes& codes,
                       uint32_t low_bits,
                       int16_t* quantised) {
  bool good = true;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    if (codes[lane] == kEscapeCode) {
      auto value = static_cast<int>(lanes.decode_bits(lane, kEscapeBits));
      quantised[lane] =
          static_cast<int16_t>(value > kQuantisedMax ? value - (1 << kEscapeBits) : value);
      good = good && quantised[lane] >= -kQuantisedMax;
    } else if (low_bits != 0) {
      auto low = static_cast<int>(lanes.decode_bits(lane, low_bits));
      quantised[lane] = static_cast<int16_t>(quantised[lane] * (1 << low_bits) + low);
    }
  }
  return good;
}

// Decodes 32 tokens of one component. False: the words ran out, or a value is none.
bool decode_step(LaneCursor& lanes, size_t scale, int16_t* values) {
  LaneCodes codes;
  bool escapes = lanes.decode_symbols(
      [&](size_t) -> const DecodeTable& { return value_tables().by_slot[scale]; }, codes);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    values[lane] = static_cast<int16_t>(codes[lane] - kSymbolZero);
  }
  uint32_t low_bits = kScaleModels[scale].low_bits;
  bool good = true;
  if (escapes || low_bits != 0) {
    good = decode_extra_bits(lanes, codes, low_bits, values);
  }
  return good && !lanes.words_ran_out();
}

// Encodes 32 tokens of one component.
void encode_step(LaneSink& lanes, size_t scale, const int16_t* values) {
  const ScaleModel& model = kScaleModels[scale];
  LaneCodes codes;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    codes[lane] = code_of(model, values[lane]);
  }
  for (size_t lane = kLanes; lane-- > 0;) {
    uint32_t bits = codes[lane] == kEscapeCode ? kEscapeBits : model.low_bits;
    if (bits != 0) {
      lanes.encode_bits(lane, static_cast<uint32_t>(values[lane]) & ((1u << bits) - 1), bits);
    }
  }
  lanes.encode_symbols(
      [&](size_t lane) -> const SymbolRange& { return value_tables().ranges[scale][codes[lane]]; });
}

}  // namespace

void add_first_costs(std::span<const uint8_t> scales,
                     size_t n_tokens,
                     const int16_t* values,
                     CorrectionCosts& costs) {
  for (uint8_t scale : scales) {
    for (size_t token = 0; token < n_tokens; ++token, ++values) {
      const int value = std::clamp<int>(*values, -kCountedMax, kCountedMax);
      const CostRow& row = value_costs()[static_cast<size_t>(value + kCountedMax)];
      for (size_t i = 0; i < costs.size(); ++i) {
        costs[i] += row[scale + i];
      }
    }
  }
}

void encode_first(LaneSink& lanes,
                  std::span<const uint8_t> scales,
                  size_t n_tokens,
                  const int16_t* values) {
  for_each_step_backwards(scales, n_tokens, values, [&](uint8_t scale, const int16_t* step) {
    encode_step(lanes, scale, step);
  });
}

bool decode_first(LaneCursor& lanes,
                  std::span<const uint8_t> scales,
                  size_t n_tokens,
                  int16_t* values) {
  for (uint8_t scale : scales) {
    for (size_t token = 0; token < n_tokens; token += kLanes, values += kLanes) {
      if (!decode_step(lanes, scale, values)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace sluice::codec::scalar
