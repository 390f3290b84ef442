// The last row: from the elements that the rows before it restore to the source's, bit for bit.
#include <algorithm>
#include <bit>
#include <numeric>

#include "codec/kernels.h"
#include "codec/progressive.h"
#include "codec/progressive_tables.h"
#include "codec/residual_grid.h"

namespace sluice::codec {
namespace {

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

// What the residuals on grids of one width cost, by their scale.
std::array<uint64_t, kScales> costs_of(const std::array<uint32_t, kMagnitudes>& counts) {
  std::array<uint64_t, kScales> costs{};
  for (size_t bits = 0; bits < kMagnitudes; ++bits) {
    for (size_t scale = 0; counts[bits] != 0 && scale < kScales; ++scale) {
      costs[scale] += uint64_t{counts[bits]} * magnitude_costs()[bits][scale];
    }
  }
  return costs;
}

// The correction under which a layer takes the fewest bits, about; the lowest on ties.
int choose_correction(const ResidualCounts& counts) {
  constexpr int kLowest = -128, kCorrections = 256;
  // What each correction costs more than the one before it: a width's scale changes with 31 of
  // them.
  std::array<uint64_t, kCorrections> more{};
  for (int i = 0; i < kWidths; ++i) {
    const std::array<uint32_t, kMagnitudes>& of_width = counts[static_cast<size_t>(i)];
    if (std::all_of(of_width.begin(), of_width.end(), [](uint32_t n) { return n == 0; })) {
      continue;
    }
    const std::array<uint64_t, kScales> costs = costs_of(of_width);
    const int width = i - kWidthZero;
    more[0] += costs[residual_scale(width, kLowest)];
    for (int scale = 1; scale < static_cast<int>(kScales); ++scale) {
      const int at = scale - width - kLowest;
      if (at > 0 && at < kCorrections) {
        const auto here = static_cast<size_t>(scale);
        more[static_cast<size_t>(at)] += costs[here] - costs[here - 1];
      }
    }
  }
  std::partial_sum(more.begin(), more.end(), more.begin());
  return static_cast<int>(std::min_element(more.begin(), more.end()) - more.begin()) + kLowest;
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
    ResidualCounts counts{};
    workspace.kernels->count_residuals(
        residuals, shape.n_tokens, restored.data() + first, source.data() + first, counts);
    residuals.correction = choose_correction(counts);
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
