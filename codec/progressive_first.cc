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

// The correction under which a layer takes the fewest bits; the lowest on ties.
int choose_correction(const ProgressiveShape& shape,
                      size_t layer,
                      const int16_t* values,
                      Workspace& workspace) {
  const std::span<const uint8_t> scales = scales_of(shape, layer, shape.first_level, 0, workspace);
  CorrectionCosts costs{};
  workspace.kernels->add_first_costs(scales, shape.n_tokens, values, costs);
  return kCorrectionMin +
         static_cast<int>(std::min_element(costs.begin(), costs.end()) - costs.begin());
}

}  // namespace

size_t scale_at(const ProgressiveShape& shape, uint8_t scale, Level level, int correction) {
  constexpr int kLast = static_cast<int>(kScales) - 1;
  const int finer = static_cast<int>(shape.first_level) - static_cast<int>(level);
  const int first = std::clamp(scale + correction, 0, kLast);
  return static_cast<size_t>(std::clamp(first + kScalesALevel * finer, 0, kLast));
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
                     std::span<const int16_t> values,
                     const ExactTokens& exact,
                     MutByteSpan out,
                     Workspace& workspace) {
  if (out.size() < shape.states_at()) {
    return 0;
  }
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    const int16_t* first = values.data() + layer * shape.layer_values();
    out[layer] = static_cast<uint8_t>(choose_correction(shape, layer, first, workspace));
  }
  std::copy(
      exact.bits.begin(), exact.bits.end(), out.begin() + static_cast<ptrdiff_t>(shape.exact_at()));

  // A symbol and the bits behind it emit one word each, at most.
  LaneEncoder lanes(exact.vectors, 2 * values.size(), workspace.words);
  for (size_t layer = shape.layers.size(); layer-- > 0;) {
    const std::span<const uint8_t> scales =
        scales_of(shape, layer, shape.first_level, static_cast<int8_t>(out[layer]), workspace);
    workspace.kernels->encode_first(
        lanes.sink(), scales, shape.n_tokens, values.data() + layer * shape.layer_values());
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
