// The last row: from the elements that the rows before it restore to the source's, bit for bit.
#include <algorithm>
#include <bit>
#include <cstdlib>

#include "codec/kernels.h"
#include "codec/progressive.h"
#include "codec/progressive_tables.h"
#include "codec/residual_grid.h"

namespace sluice::codec {
namespace {

constexpr size_t kMagnitudes = 17;  // bit widths of |residual|

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

// How often residuals of a bit width occur on grids of one width.
struct Occurrence {
  int width;
  size_t bits;
  uint64_t count;
};

std::vector<Occurrence> occurrences(const ResidualShape& shape,
                                    size_t n_tokens,
                                    const uint16_t* restored,
                                    const uint16_t* source) {
  std::array<std::array<uint32_t, kMagnitudes>, kWidths> counts{};
  for (const ChannelModel& model : shape.model.channels) {
    const ResidualChannel channel = residual_channel(shape, model);
    for (size_t token = 0; token < n_tokens; ++token, ++restored, ++source) {
      const Grid grid = channel.grid(*restored);
      auto residual = static_cast<int16_t>(grid.cell(*source) - grid.cell(*restored));
      auto size = static_cast<uint32_t>(std::abs(int{residual}));
      auto width = static_cast<size_t>(channel.width_on(grid) + kWidthZero);
      ++counts[width][static_cast<size_t>(std::bit_width(size))];
    }
  }
  std::vector<Occurrence> out;
  for (int width = 0; width < kWidths; ++width) {
    for (size_t bits = 0; bits < kMagnitudes; ++bits) {
      if (uint32_t count = counts[static_cast<size_t>(width)][bits]; count != 0) {
        out.push_back({width - kWidthZero, bits, count});
      }
    }
  }
  return out;
}

// The correction under which a layer takes the fewest bits, about; the lowest on ties.
int choose_correction(const std::vector<Occurrence>& occurring) {
  uint64_t least = ~uint64_t{0};
  int best = 0;
  for (int correction = -128; correction < 128; ++correction) {
    uint64_t cost = 0;
    for (const Occurrence& one : occurring) {
      cost += one.count * magnitude_costs()[one.bits][residual_scale(one.width, correction)];
    }
    if (cost < least) {
      least = cost;
      best = correction;
    }
  }
  return best;
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
  for (size_t layer = shape.layers.size(); layer-- > 0;) {
    const size_t first = layer * shape.layer_values();
    ResidualShape residuals{.model = shape.model(layer), .stored = shape.stored, .level = level};
    residuals.correction = choose_correction(
        occurrences(residuals, shape.n_tokens, restored.data() + first, source.data() + first));
    out[layer] = static_cast<uint8_t>(residuals.correction);
    workspace.kernels->encode_residuals(
        lanes.sink(), residuals, shape.n_tokens, restored.data() + first, source.data() + first);
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
  uint16_t* values = elements.data();
  for (size_t layer = 0; layer < shape.layers.size(); ++layer, values += shape.layer_values()) {
    const ResidualShape residuals{.model = shape.model(layer),
                                  .stored = shape.stored,
                                  .level = level,
                                  .correction = static_cast<int8_t>(section[layer])};
    if (!workspace.kernels->decode_residuals(lanes.cursor(), residuals, shape.n_tokens, values)) {
      return damaged_section(place, "its words end before its symbols do");
    }
  }
  Result<ByteSpan> rest = lanes.finish(place);
  return rest.has_value() ? Status() : Status(rest.error());
}

}  // namespace sluice::codec
