// The last row: from the elements that the rows before it restore to the source's, bit for bit.
#include <algorithm>
#include <bit>
#include <cstdlib>

#include "codec/progressive.h"
#include "codec/progressive_tables.h"

namespace sluice::codec {
namespace {

constexpr uint32_t kResidualBits = 16;  // of an escaped one
constexpr int kWidths = 288;            // half octaves that a channel's error may have in ulps
constexpr int kWidthZero = 144;
constexpr size_t kMagnitudes = 17;  // bit widths of |residual|

// Neighbouring floats become neighbouring integers, across zero too: a bijection of all patterns.
uint16_t ordered(uint16_t bits) {
  return static_cast<uint16_t>((bits & 0x8000) != 0 ? ~bits : bits | 0x8000);
}

uint16_t unordered(uint16_t value) {
  return static_cast<uint16_t>((value & 0x8000) != 0 ? value & 0x7fff : ~value);
}

int16_t residual_of(uint16_t source, uint16_t restored) {
  return static_cast<int16_t>(ordered(source) - ordered(restored));
}

// How wide residuals are, in half octaves of the last place: the channel's step against the unit
// of the last place of the restored element. Up to a constant, which the correction takes up.
class Widths {
 public:
  Widths(const PlaneModel& model, const ChannelModel& channel, DType stored)
      : shift_(stored == DType::f16 ? 10 : 7), powers_(stored == DType::f16 ? 0x1f : 0xff) {
    constexpr int kMiddleMantissa = 23170;  // 2^14.5
    int step = 2 * (14 + static_cast<int>(model.step_bits) - channel.shift - model.exponent) +
               (channel.mantissa >= kMiddleMantissa ? 1 : 0);
    int least_power = stored == DType::f16 ? -25 : -134;  // of the last place where power is 0
    base_ = step - 2 * least_power;
  }

  int of(uint16_t restored) const {
    int power = std::max(restored >> shift_ & powers_, 1);
    return std::clamp(base_ - 2 * power, -kWidthZero, kWidths - kWidthZero - 1);
  }

 private:
  int shift_;
  int powers_;
  int base_;
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
                      size_t layer,
                      std::span<const uint16_t> restored,
                      std::span<const uint16_t> source) {
  std::array<std::array<uint32_t, kMagnitudes>, kWidths> counts{};
  const PlaneModel& model = shape.model(layer);
  size_t i = 0;
  for (const ChannelModel& channel : model.channels) {
    const Widths widths(model, channel, shape.stored);
    for (size_t token = 0; token < shape.n_tokens; ++token, ++i) {
      auto size = static_cast<uint32_t>(std::abs(residual_of(source[i], restored[i])));
      auto width = static_cast<size_t>(widths.of(restored[i]) + kWidthZero);
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
  std::array<size_t, kLanes> scales;
  LaneCodes codes;
  for (size_t lane = kLanes; lane-- > 0;) {
    int residual = residual_of(source[lane], restored[lane]);
    scales[lane] = scale_of(widths.of(restored[lane]), correction);
    const ScaleModel& model = kResidualModels[scales[lane]];
    codes[lane] = code_of(model, residual);
    uint32_t bits = codes[lane] == kEscapeCode ? kResidualBits : model.low_bits;
    if (bits != 0) {
      lanes.encode_bits(lane, static_cast<uint32_t>(residual) & ((1u << bits) - 1), bits);
    }
  }
  lanes.encode_symbols([&](size_t lane) -> const SymbolRange& {
    return residual_tables().ranges[scales[lane]][codes[lane]];
  });
}

void decode_step(LaneDecoder& lanes, const Widths& widths, int correction, uint16_t* elements) {
  std::array<size_t, kLanes> scales;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    scales[lane] = scale_of(widths.of(elements[lane]), correction);
  }
  LaneCodes codes;
  lanes.decode_symbols(
      [&](size_t lane) -> const DecodeTable& { return residual_tables().by_slot[scales[lane]]; },
      codes);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    uint32_t low_bits = kResidualModels[scales[lane]].low_bits;
    int residual = codes[lane] - kSymbolZero;
    if (codes[lane] == kEscapeCode) {
      residual = static_cast<int>(lanes.decode_bits(lane, kResidualBits));
    } else if (low_bits != 0) {
      residual = residual * (1 << low_bits) + static_cast<int>(lanes.decode_bits(lane, low_bits));
    }
    elements[lane] = unordered(static_cast<uint16_t>(ordered(elements[lane]) + residual));
  }
}

}  // namespace

size_t encode_residuals(const ProgressiveShape& shape,
                        std::span<const uint16_t> restored,
                        std::span<const uint16_t> source,
                        MutByteSpan out,
                        Workspace& workspace) {
  if (out.size() < shape.layers.size()) {
    return 0;
  }
  constexpr std::array<uint8_t, kSeedBytes> kNoSeed{};
  LaneEncoder lanes(ByteSpan(kNoSeed).first(0), 2 * restored.size(), workspace.words);
  size_t at = shape.values();
  for (size_t layer = shape.layers.size(); layer-- > 0;) {
    const size_t first = layer * shape.layer_values();
    int correction = choose_correction(shape,
                                       layer,
                                       restored.subspan(first, shape.layer_values()),
                                       source.subspan(first, shape.layer_values()));
    out[layer] = static_cast<uint8_t>(correction);
    const PlaneModel& model = shape.model(layer);
    for (size_t c = model.channels.size(); c-- > 0;) {
      const Widths widths(model, model.channels[c], shape.stored);
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
      const Widths widths(model, channel, shape.stored);
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
