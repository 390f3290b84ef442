// The first row of a `progressive` section: quantised values under the tables of their scales.
#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include "codec/kernels.h"
#include "codec/progressive.h"
#include "codec/progressive_tables.h"

namespace sluice::codec {
namespace {

// Corrections that are tried: -4 to 3.
constexpr int kCorrectionMin = -4;
constexpr size_t kCorrections = 8;
// Values beyond are escapes under every table.
constexpr int kCountedMax = 128;

using CostRow = std::array<uint16_t, kScales + kCorrections>;  // by scale + correction + 4

size_t corrected(uint8_t scale, int correction) {
  return static_cast<size_t>(std::clamp(scale + correction, 0, static_cast<int>(kScales) - 1));
}

// What each value costs, by value + 128.
const std::array<CostRow, 2 * kCountedMax + 1>& value_costs() {
  static const auto costs = [] {
    std::array<CostRow, 2 * kCountedMax + 1> built;
    for (int value = -kCountedMax; value <= kCountedMax; ++value) {
      CostRow& row = built[static_cast<size_t>(value + kCountedMax)];
      for (size_t i = 0; i < row.size(); ++i) {
        size_t scale = corrected(0, static_cast<int>(i) + kCorrectionMin);
        row[i] = static_cast<uint16_t>(cost_of_value(kScaleModels[scale], value, kEscapeBits));
      }
    }
    return built;
  }();
  return costs;
}

// The correction under which a layer takes the fewest bits; the lowest on ties.
int choose_correction(const ProgressiveShape& shape,
                      const std::vector<ChannelModel>& channels,
                      const int16_t* value) {
  const auto& table = value_costs();
  std::array<uint64_t, kCorrections> layer_costs{};
  for (const ChannelModel& channel : channels) {
    std::array<uint32_t, kCorrections> costs{};
    for (size_t token = 0; token < shape.n_tokens; ++token, ++value) {
      int q = std::clamp(coarsened(*value, shape.first_level), -kCountedMax, kCountedMax);
      const uint16_t* row = table[static_cast<size_t>(q + kCountedMax)].data() + channel.scale;
      for (size_t i = 0; i < kCorrections; ++i) {
        costs[i] += row[i];
      }
    }
    for (size_t i = 0; i < kCorrections; ++i) {
      layer_costs[i] += costs[i];
    }
  }
  auto best = std::min_element(layer_costs.begin(), layer_costs.end());
  return kCorrectionMin + static_cast<int>(best - layer_costs.begin());
}

// Encodes 32 tokens of one component.
void encode_step(LaneEncoder& lanes, Level level, size_t scale, const int16_t* quantised) {
  const ScaleModel& model = kScaleModels[scale];
  LaneCodes codes;
  std::array<int, kLanes> values;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    values[lane] = coarsened(quantised[lane], level);
    codes[lane] = code_of(model, values[lane]);
  }
  for (size_t lane = kLanes; lane-- > 0;) {
    uint32_t bits = codes[lane] == kEscapeCode ? kEscapeBits : model.low_bits;
    if (bits != 0) {
      lanes.encode_bits(lane, static_cast<uint32_t>(values[lane]) & ((1u << bits) - 1), bits);
    }
  }
  lanes.encode_symbols(value_tables().ranges[scale].data(), codes);
}

}  // namespace

int coarsened(int quantised, Level level) {
  int size = quantised < 0 ? -quantised : quantised;
  for (auto times = static_cast<int>(level); times > 1; --times) {
    size = (size + 1) / 3;
  }
  return quantised < 0 ? -size : size;
}

size_t scale_at(const ProgressiveShape& shape, uint8_t scale, Level level, int correction) {
  int finer = static_cast<int>(shape.first_level) - static_cast<int>(level);
  return corrected(static_cast<uint8_t>(corrected(scale, correction)), kScalesALevel * finer);
}

std::span<const uint8_t> scales_of(const ProgressiveShape& shape,
                                   size_t layer,
                                   Level level,
                                   int correction,
                                   Workspace& workspace) {
  const std::vector<ChannelModel>& channels = shape.model(layer).channels;
  workspace.scales.resize(std::max(workspace.scales.size(), channels.size()));
  std::transform(
      channels.begin(), channels.end(), workspace.scales.begin(), [&](const ChannelModel& channel) {
        return static_cast<uint8_t>(scale_at(shape, channel.scale, level, correction));
      });
  return {workspace.scales.data(), channels.size()};
}

size_t encode_values(const ProgressiveShape& shape,
                     std::span<const int16_t> quantised,
                     const ExactTokens& exact,
                     MutByteSpan out,
                     Workspace& workspace) {
  if (out.size() < shape.states_at()) {
    return 0;
  }
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    const int16_t* first = quantised.data() + layer * shape.layer_values();
    int correction = choose_correction(shape, shape.model(layer).channels, first);
    out[layer] = static_cast<uint8_t>(correction);
  }
  std::copy(
      exact.bits.begin(), exact.bits.end(), out.begin() + static_cast<ptrdiff_t>(shape.exact_at()));

  // A symbol and the bits behind it emit one word each, at most.
  LaneEncoder lanes(exact.vectors, 2 * quantised.size(), workspace.words);
  const int16_t* step = quantised.data() + quantised.size();
  for (size_t layer = shape.layers.size(); layer-- > 0;) {
    auto correction = static_cast<int8_t>(out[layer]);
    const std::vector<ChannelModel>& channels = shape.model(layer).channels;
    for (size_t c = channels.size(); c-- > 0;) {
      size_t scale = corrected(channels[c].scale, correction);
      for (size_t token = shape.n_tokens; token > 0; token -= kLanes) {
        step -= kLanes;
        encode_step(lanes, shape.first_level, scale, step);
      }
    }
  }
  size_t coded_bytes = lanes.write(out.subspan(shape.states_at()));
  return coded_bytes == 0 ? 0 : shape.states_at() + coded_bytes;
}

Result<ExactTokens> decode_values(const ProgressiveShape& shape,
                                  ByteSpan section,
                                  const SectionPlace& place,
                                  std::span<int16_t> quantised,
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
  int16_t* values = quantised.data();
  for (size_t layer = 0; layer < shape.layers.size(); ++layer, values += shape.layer_values()) {
    std::span<const uint8_t> scales =
        scales_of(shape, layer, shape.first_level, static_cast<int8_t>(section[layer]), workspace);
    if (!workspace.kernels->decode_first(lanes.cursor(), scales, shape.n_tokens, values)) {
      return damaged_section(place, "its words end before its symbols do, or one is none");
    }
  }
  SLUICE_TRY(ByteSpan vectors, lanes.finish(place));
  return ExactTokens{ByteSpan(workspace.bytes).subspan(shape.exact_at(), shape.exact_bytes()),
                     vectors};
}

}  // namespace sluice::codec
