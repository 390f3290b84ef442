#include <algorithm>
#include <bit>
#include <numeric>

#include "codec/progressive.h"
#include "codec/progressive_rom.h"

namespace sluice::codec {
namespace {

// The same tables as in the ROM, by slot: 136 KiB, of which a page uses those near its channels.
const std::array<DecodeTable, kScales>& decode_tables() {
  static const std::array<DecodeTable, kScales> tables = [] {
    std::array<DecodeTable, kScales> built;
    for (size_t scale = 0; scale < kScales; ++scale) {
      uint32_t below = 0;
      for (uint8_t code = 0; code <= kEscapeCode; ++code) {
        uint32_t frequency = kScaleModels[scale].frequencies[code];
        if (frequency != 0) {
          built[scale].add(code, frequency, below);
        }
        below += frequency;
      }
    }
    return built;
  }();
  return tables;
}

// Draws low bits, and escaped values as they are. False: one is no value.
bool decode_extra_bits(LaneDecoder& lanes,
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

// Quantised values become coefficients: eight of a step, less the offset towards zero.
void place_in_steps(const ScaleModel& model, int16_t* values) {
  auto [none, one, two, more] = model.offsets;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    int q = values[lane];
    int size = q < 0 ? -q : q;
    int offset = size == 0 ? none : size == 1 ? one : size == 2 ? two : more;
    int coefficient = kCoefficientsOfAStep * size - offset;
    values[lane] = static_cast<int16_t>(q < 0 ? -coefficient : coefficient);
  }
}

// Decodes 32 tokens of one channel. False: the words ran out, or a value is none.
bool decode_step(LaneDecoder& lanes, const ChannelModel& channel, size_t scale, int16_t* values) {
  LaneCodes codes;
  bool escapes = lanes.decode_symbols(decode_tables()[scale], codes);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    values[lane] = static_cast<int16_t>(codes[lane] - kSymbolZero);
  }
  uint32_t low_bits = kScaleModels[scale].low_bits;
  bool good = true;
  if (escapes || low_bits != 0) {
    good = decode_extra_bits(lanes, codes, low_bits, values);
  }
  place_in_steps(kScaleModels[channel.scale], values);
  return good && !lanes.words_ran_out();
}

}  // namespace

size_t corrected_scale(uint8_t scale, int correction) {
  return static_cast<size_t>(std::clamp(scale + correction, 0, static_cast<int>(kScales) - 1));
}

Result<ExactTokens> decode_progressive(const ProgressiveShape& shape,
                                       ByteSpan section,
                                       const SectionPlace& place,
                                       std::span<int16_t> coefficients,
                                       Workspace& workspace) {
  if (section.size() < shape.states_at() + kStatesBytes) {
    return damaged_section(place, "it ends before its states do");
  }
  ByteSpan exact = section.subspan(shape.exact_at(), shape.exact_bytes());
  size_t exact_tokens =
      std::accumulate(exact.begin(), exact.end(), size_t{0}, [](size_t sum, uint8_t bits) {
        return sum + static_cast<size_t>(std::popcount(bits));
      });
  SLUICE_TRY(
      LaneDecoder lanes,
      LaneDecoder::open(
          section, shape.states_at(), exact_tokens * shape.vector_bytes, place, workspace.bytes));
  int16_t* step = coefficients.data();
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    auto correction = static_cast<int8_t>(section[layer]);
    for (const ChannelModel& channel : shape.models(layer)) {
      size_t scale = corrected_scale(channel.scale, correction);
      for (size_t token = 0; token < shape.n_tokens; token += kLanes, step += kLanes) {
        if (!decode_step(lanes, channel, scale, step)) {
          return damaged_section(place, "its words end before its symbols do, or one is none");
        }
      }
    }
  }
  SLUICE_TRY(ByteSpan vectors, lanes.finish(place));
  return ExactTokens{ByteSpan(workspace.bytes).subspan(shape.exact_at(), shape.exact_bytes()),
                     vectors};
}

}  // namespace sluice::codec
