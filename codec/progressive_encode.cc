#include <algorithm>
#include <cstdlib>
#include <limits>

#include "codec/progressive.h"
#include "codec/progressive_rom.h"

namespace sluice::codec {
namespace {

// Corrections that are tried: -4 to 3.
constexpr int kCorrectionMin = -4;
constexpr size_t kCorrections = 8;
// Values beyond are escapes under every table.
constexpr int kCountedMax = 128;

using CostRow = std::array<uint16_t, kScales + kCorrections>;  // by scale + correction + 4

// The symbol of a value under a table, as its code.
uint8_t code_of(const ScaleModel& model, int quantised) {
  int code = (quantised >> model.low_bits) + kSymbolZero;
  bool known = code >= 0 && code < kEscapeCode && model.frequencies[static_cast<size_t>(code)] != 0;
  return known ? static_cast<uint8_t>(code) : kEscapeCode;
}

// Derived from the ROM once: code ranges, and what each value costs in 1/128 bit.
struct EncodeTables {
  std::array<std::array<SymbolRange, 32>, kScales> ranges;
  std::array<CostRow, 2 * kCountedMax + 1> costs;  // by value + 128

  EncodeTables() {
    for (size_t scale = 0; scale < kScales; ++scale) {
      uint32_t below = 0;
      for (size_t code = 0; code < ranges[scale].size(); ++code) {
        ranges[scale][code] = {kScaleModels[scale].frequencies[code], below};
        below += kScaleModels[scale].frequencies[code];
      }
    }
    for (int value = -kCountedMax; value <= kCountedMax; ++value) {
      CostRow& row = costs[static_cast<size_t>(value + kCountedMax)];
      for (size_t i = 0; i < row.size(); ++i) {
        row[i] = cost(corrected_scale(0, static_cast<int>(i) + kCorrectionMin), value);
      }
    }
  }

 private:
  static uint16_t cost(size_t scale, int value) {
    const ScaleModel& model = kScaleModels[scale];
    uint8_t code = code_of(model, value);
    uint32_t bits = code == kEscapeCode ? kEscapeBits : model.low_bits;
    return static_cast<uint16_t>(cost_of(model.frequencies[code]) + 128 * bits);
  }
};

const EncodeTables& encode_tables() {
  static const EncodeTables tables;
  return tables;
}

// The correction under which a layer takes the fewest bits; the lowest on ties.
int choose_correction(const std::vector<ChannelModel>& channels,
                      std::span<const int16_t> quantised) {
  size_t n_tokens = quantised.size() / channels.size();
  const auto& table = encode_tables().costs;
  std::array<uint64_t, kCorrections> layer_costs{};
  const int16_t* value = quantised.data();
  for (const ChannelModel& channel : channels) {
    std::array<uint32_t, kCorrections> costs{};
    for (size_t token = 0; token < n_tokens; ++token, ++value) {
      auto row =
          static_cast<size_t>(std::clamp<int>(*value, -kCountedMax, kCountedMax) + kCountedMax);
      const uint16_t* row_costs = table[row].data() + channel.scale;
      for (size_t i = 0; i < kCorrections; ++i) {
        costs[i] += row_costs[i];
      }
    }
    for (size_t i = 0; i < kCorrections; ++i) {
      layer_costs[i] += costs[i];
    }
  }
  auto best = std::min_element(layer_costs.begin(), layer_costs.end());
  return kCorrectionMin + static_cast<int>(best - layer_costs.begin());
}

// Encodes 32 tokens of one channel.
void encode_step(LaneEncoder& lanes, size_t scale, const int16_t* quantised) {
  const ScaleModel& model = kScaleModels[scale];
  LaneCodes codes;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    codes[lane] = code_of(model, quantised[lane]);
  }
  for (size_t lane = kLanes; lane-- > 0;) {
    uint32_t bits = codes[lane] == kEscapeCode ? kEscapeBits : model.low_bits;
    if (bits != 0) {
      lanes.encode_bits(lane, static_cast<uint32_t>(quantised[lane]) & ((1u << bits) - 1), bits);
    }
  }
  lanes.encode_symbols(encode_tables().ranges[scale].data(), codes);
}

}  // namespace

size_t encode_progressive(const ProgressiveShape& shape,
                          std::span<const int16_t> quantised,
                          const ExactTokens& exact,
                          MutByteSpan out,
                          Workspace& workspace) {
  if (out.size() < shape.states_at()) {
    return 0;
  }
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    int correction = choose_correction(
        shape.models(layer), quantised.subspan(layer * shape.layer_values(), shape.layer_values()));
    out[layer] = static_cast<uint8_t>(correction);
  }
  std::copy(
      exact.bits.begin(), exact.bits.end(), out.begin() + static_cast<ptrdiff_t>(shape.exact_at()));

  // A symbol and the bits behind it emit one word each, at most.
  LaneEncoder lanes(exact.vectors, 2 * quantised.size(), workspace.words);
  const int16_t* step = quantised.data() + quantised.size();
  for (size_t layer = shape.layers.size(); layer-- > 0;) {
    auto correction = static_cast<int8_t>(out[layer]);
    const std::vector<ChannelModel>& channels = shape.models(layer);
    for (size_t c = channels.size(); c-- > 0;) {
      size_t scale = corrected_scale(channels[c].scale, correction);
      for (size_t token = shape.n_tokens; token > 0; token -= kLanes) {
        step -= kLanes;
        encode_step(lanes, scale, step);
      }
    }
  }
  size_t coded_bytes = lanes.write(out.subspan(shape.states_at()));
  return coded_bytes == 0 ? 0 : shape.states_at() + coded_bytes;
}

}  // namespace sluice::codec
