// The last row: from the elements that the rows before it restore to the source's, bit for bit.
#include <algorithm>
#include <bit>
#include <cstdlib>

#include "codec/progressive.h"
#include "codec/progressive_tables.h"

namespace sluice::codec {
namespace {

constexpr uint32_t kResidualBits = 16;   // of an escaped one
constexpr uint32_t kMagnitudeBits = 15;  // of an element less its sign
constexpr int kWidths = 288;             // half octaves that a channel's error may have in cells
constexpr int kWidthZero = 144;
constexpr size_t kMagnitudes = 17;  // bit widths of |residual|

// The grid of one element: what 16-bit floats would be whose least exponent was `power`. Cells
// count from 0 upwards, from -1 downwards; so no sign change jumps over all small numbers, and the
// cells about zero are as wide as those of numbers of about the error's size. FORMAT.md, "Row
// exact".
struct Grid {
  uint32_t mantissa_bits;
  uint32_t power;

  int16_t cell(uint16_t bits) const {
    uint32_t magnitude = bits & 0x7fffu;
    uint32_t own = std::max(magnitude >> mantissa_bits, 1u);
    uint32_t significand = magnitude - ((own - 1) << mantissa_bits);
    uint32_t number = own >= power ? magnitude - ((power - 1) << mantissa_bits)
                                   : significand >> std::min(power - own, 31u);
    return static_cast<int16_t>((bits & 0x8000) != 0 ? ~number : number);
  }

  // Bits of the magnitude that its cell does not tell.
  uint32_t hidden_bits(int16_t of_cell) const {
    auto number = static_cast<uint32_t>(of_cell < 0 ? ~of_cell : of_cell);
    auto width = static_cast<uint32_t>(std::bit_width(number));
    if (number == 0) {
      return kMagnitudeBits;
    }
    return width > mantissa_bits ? 0 : std::min(mantissa_bits + 1 - width, power - 1);
  }

  uint16_t element(int16_t of_cell, uint32_t hidden) const {
    auto number = static_cast<uint32_t>(of_cell < 0 ? ~of_cell : of_cell);
    uint32_t magnitude = hidden;
    if (number != 0) {
      uint32_t bits = hidden_bits(of_cell);
      magnitude = (number << bits | hidden) + ((power - bits - 1) << mantissa_bits);
    }
    return static_cast<uint16_t>((magnitude & 0x7fff) | (of_cell < 0 ? 0x8000 : 0));
  }
};

// How wide residuals are, in half octaves of cells: the channel's step against the cell. Up to a
// constant, which the correction takes up.
class Widths {
 public:
  Widths(const PlaneModel& model, const ChannelModel& channel, DType stored, Level level)
      : mantissa_bits_(stored == DType::f16 ? 10 : 7) {
    constexpr int kMiddleMantissa = 23170;  // 2^14.5
    const int bias = stored == DType::f16 ? 15 : 127;
    const int step = 2 * (14 + static_cast<int>(model.step_bits) - channel.shift - model.exponent) +
                     (channel.mantissa >= kMiddleMantissa ? 1 : 0);
    base_ = step + 2 * (bias + static_cast<int>(mantissa_bits_));
    const int error = step + 3 * (static_cast<int>(level) - 1);
    least_power_ = std::clamp((error >> 1) + bias, 1, 2 * bias);
  }

  Grid grid(uint16_t restored) const {
    const uint32_t own = (restored & 0x7fffu) >> mantissa_bits_;
    return {.mantissa_bits = mantissa_bits_,
            .power = std::max(own, static_cast<uint32_t>(least_power_))};
  }

  int of(const Grid& grid) const {
    return std::clamp(
        base_ - 2 * static_cast<int>(grid.power), -kWidthZero, kWidths - kWidthZero - 1);
  }

 private:
  uint32_t mantissa_bits_;
  int base_;
  int least_power_;
};

size_t scale_of(int width, int correction) {
  return static_cast<size_t>(std::clamp(width + correction, 0, static_cast<int>(kScales) - 1));
}

// What a residual of each bit width costs, about: that of the middle one.
const std::array<std::array<uint32_t, kScales>, kMagnitudes>& magnitude_costs() {
  static const auto costs = [] {
    std::array<std::array<uint32_t, kScales>, kMagnitudes> built;
    for (size_t bits = 0; bits < kMagnitudes; ++bits) {
      int middle = bits < 2 ? static_cast<int>(bits) : 3 << (bits - 2);
      for (size_t scale = 0; scale < kScales; ++scale) {
        built[bits][scale] = cost_of_value(kResidualModels[scale], middle, kResidualBits);
      }
    }
    return built;
  }();
  return costs;
}

// The correction under which a layer takes the fewest bits, about; the lowest on ties.
int choose_correction(const ProgressiveShape& shape,
                      Level level,
                      size_t layer,
                      std::span<const uint16_t> restored,
                      std::span<const uint16_t> source) {
  std::array<std::array<uint32_t, kMagnitudes>, kWidths> counts{};
  const PlaneModel& model = shape.model(layer);
  size_t i = 0;
  for (const ChannelModel& channel : model.channels) {
    const Widths widths(model, channel, shape.stored, level);
    for (size_t token = 0; token < shape.n_tokens; ++token, ++i) {
      const Grid grid = widths.grid(restored[i]);
      auto residual = static_cast<int16_t>(grid.cell(source[i]) - grid.cell(restored[i]));
      auto size = static_cast<uint32_t>(std::abs(int{residual}));
      auto width = static_cast<size_t>(widths.of(grid) + kWidthZero);
      ++counts[width][static_cast<size_t>(std::bit_width(size))];
    }
  }
  uint64_t least = ~uint64_t{0};
  int best = 0;
  for (int correction = -128; correction < 128; ++correction) {
    uint64_t cost = 0;
    for (int width = 0; width < kWidths; ++width) {
      const size_t scale = scale_of(width - kWidthZero, correction);
      for (size_t bits = 0; bits < kMagnitudes; ++bits) {
        cost += uint64_t{counts[static_cast<size_t>(width)][bits]} * magnitude_costs()[bits][scale];
      }
    }
    if (cost < least) {
      least = cost;
      best = correction;
    }
  }
  return best;
}

// Encodes 32 tokens of one channel.
void encode_step(LaneEncoder& lanes,
                 const Widths& widths,
                 int correction,
                 const uint16_t* restored,
                 const uint16_t* source) {
  std::array<int16_t, kLanes> residuals;
  std::array<size_t, kLanes> scales;
  LaneCodes codes;
  for (size_t lane = kLanes; lane-- > 0;) {
    const Grid grid = widths.grid(restored[lane]);
    const int16_t cell = grid.cell(source[lane]);
    residuals[lane] = static_cast<int16_t>(cell - grid.cell(restored[lane]));
    scales[lane] = scale_of(widths.of(grid), correction);
    codes[lane] = code_of(kResidualModels[scales[lane]], residuals[lane]);
    if (uint32_t bits = grid.hidden_bits(cell); bits != 0) {
      lanes.encode_bits(lane, source[lane] & ((1u << bits) - 1), bits);
    }
  }
  for (size_t lane = kLanes; lane-- > 0;) {
    const ScaleModel& model = kResidualModels[scales[lane]];
    uint32_t bits = codes[lane] == kEscapeCode ? kResidualBits : model.low_bits;
    if (bits != 0) {
      lanes.encode_bits(lane, static_cast<uint32_t>(residuals[lane]) & ((1u << bits) - 1), bits);
    }
  }
  lanes.encode_symbols([&](size_t lane) -> const SymbolRange& {
    return residual_tables().ranges[scales[lane]][codes[lane]];
  });
}

void decode_step(LaneDecoder& lanes, const Widths& widths, int correction, uint16_t* elements) {
  std::array<Grid, kLanes> grids;
  std::array<size_t, kLanes> scales;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    grids[lane] = widths.grid(elements[lane]);
    scales[lane] = scale_of(widths.of(grids[lane]), correction);
  }
  LaneCodes codes;
  lanes.decode_symbols(
      [&](size_t lane) -> const DecodeTable& { return residual_tables().by_slot[scales[lane]]; },
      codes);
  std::array<int16_t, kLanes> cells;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    uint32_t low_bits = kResidualModels[scales[lane]].low_bits;
    int residual = codes[lane] - kSymbolZero;
    if (codes[lane] == kEscapeCode) {
      residual = static_cast<int>(lanes.decode_bits(lane, kResidualBits));
    } else if (low_bits != 0) {
      residual = residual * (1 << low_bits) + static_cast<int>(lanes.decode_bits(lane, low_bits));
    }
    cells[lane] = static_cast<int16_t>(grids[lane].cell(elements[lane]) + residual);
  }
  for (size_t lane = 0; lane < kLanes; ++lane) {
    const uint32_t bits = grids[lane].hidden_bits(cells[lane]);
    const uint32_t hidden = bits == 0 ? 0 : lanes.decode_bits(lane, bits);
    elements[lane] = grids[lane].element(cells[lane], hidden);
  }
}

}  // namespace

size_t encode_residuals(const ProgressiveShape& shape,
                        Level level,
                        std::span<const uint16_t> restored,
                        std::span<const uint16_t> source,
                        MutByteSpan out,
                        Workspace& workspace) {
  if (out.size() < shape.layers.size()) {
    return 0;
  }
  constexpr std::array<uint8_t, kSeedBytes> kNoSeed{};
  LaneEncoder lanes(ByteSpan(kNoSeed).first(0), 3 * restored.size(), workspace.words);
  size_t at = shape.values();
  for (size_t layer = shape.layers.size(); layer-- > 0;) {
    const size_t first = layer * shape.layer_values();
    int correction = choose_correction(shape,
                                       level,
                                       layer,
                                       restored.subspan(first, shape.layer_values()),
                                       source.subspan(first, shape.layer_values()));
    out[layer] = static_cast<uint8_t>(correction);
    const PlaneModel& model = shape.model(layer);
    for (size_t c = model.channels.size(); c-- > 0;) {
      const Widths widths(model, model.channels[c], shape.stored, level);
      for (size_t token = shape.n_tokens; token > 0; token -= kLanes) {
        at -= kLanes;
        encode_step(lanes, widths, correction, &restored[at], &source[at]);
      }
    }
  }
  size_t coded_bytes = lanes.write(out.subspan(shape.layers.size()));
  return coded_bytes == 0 ? 0 : shape.layers.size() + coded_bytes;
}

Status decode_residuals(const ProgressiveShape& shape,
                        Level level,
                        ByteSpan section,
                        const SectionPlace& place,
                        std::span<uint16_t> elements,
                        Workspace& workspace) {
  if (section.size() < shape.layers.size() + kStatesBytes) {
    return damaged_section(place, "it ends before its states do");
  }
  SLUICE_TRY(LaneDecoder lanes,
             LaneDecoder::open(section, shape.layers.size(), 0, place, workspace.more_bytes));
  uint16_t* step = elements.data();
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    auto correction = static_cast<int8_t>(section[layer]);
    const PlaneModel& model = shape.model(layer);
    for (const ChannelModel& channel : model.channels) {
      const Widths widths(model, channel, shape.stored, level);
      for (size_t token = 0; token < shape.n_tokens; token += kLanes, step += kLanes) {
        decode_step(lanes, widths, correction, step);
        if (lanes.words_ran_out()) {
          return damaged_section(place, "its words end before its symbols do");
        }
      }
    }
  }
  Result<ByteSpan> rest = lanes.finish(place);
  return rest.has_value() ? Status() : Status(rest.error());
}

}  // namespace sluice::codec
