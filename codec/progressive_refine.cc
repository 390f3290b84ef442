// The rows between the first one and `exact`: what three times the coarser value lacks.
#include <algorithm>
#include <cstdlib>

#include "codec/progressive.h"
#include "codec/progressive_tables.h"

namespace sluice::codec {
namespace {

constexpr size_t kSizes = 4;  // of coarser values: 0, 1, 2, 3 and more

struct RefinementTables {
  std::array<std::array<std::array<SymbolRange, 3>, kSizes>, kScales> ranges;
  std::array<std::array<DecodeTable, kSizes>, kScales> by_slot;

  RefinementTables() {
    for (size_t scale = 0; scale < kScales; ++scale) {
      for (size_t size = 0; size < kSizes; ++size) {
        uint32_t below = 0;
        for (uint8_t code = 0; code < 3; ++code) {
          uint32_t frequency = kRefinements[scale][size][code];
          ranges[scale][size][code] = {frequency, below};
          by_slot[scale][size].add(code, frequency, below);
          below += frequency;
        }
      }
    }
  }
};

const RefinementTables& tables() {
  static const RefinementTables built;
  return built;
}

size_t size_class(int coarser) {
  return std::min<size_t>(static_cast<size_t>(std::abs(coarser)), kSizes - 1);
}

// Encodes 32 tokens of one component, whose values of level q1 are given.
void encode_step(LaneEncoder& lanes, Level level, size_t scale, const int16_t* quantised) {
  auto coarser_level = static_cast<Level>(static_cast<int>(level) + 1);
  lanes.encode_symbols([&](size_t lane) -> const SymbolRange& {
    int coarser = coarsened(quantised[lane], coarser_level);
    int lacks = coarsened(quantised[lane], level) - 3 * coarser;
    auto code = static_cast<size_t>((coarser < 0 ? -lacks : lacks) + 1);
    return tables().ranges[scale][size_class(coarser)][code];
  });
}

void decode_step(LaneDecoder& lanes, size_t scale, int16_t* values) {
  const auto& by_size = tables().by_slot[scale];
  LaneCodes codes;
  lanes.decode_symbols(
      [&](size_t lane) -> const DecodeTable& { return by_size[size_class(values[lane])]; }, codes);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    int lacks = codes[lane] - 1;
    values[lane] = static_cast<int16_t>(3 * values[lane] + (values[lane] < 0 ? -lacks : lacks));
  }
}

}  // namespace

size_t encode_refinement(const ProgressiveShape& shape,
                         Level level,
                         ByteSpan corrections,
                         std::span<const int16_t> quantised,
                         MutByteSpan out,
                         Workspace& workspace) {
  auto coarser = static_cast<Level>(static_cast<int>(level) + 1);
  constexpr std::array<uint8_t, kSeedBytes> kNoSeed{};
  LaneEncoder lanes(ByteSpan(kNoSeed).first(0), quantised.size(), workspace.words);
  const int16_t* step = quantised.data() + quantised.size();
  for (size_t layer = shape.layers.size(); layer-- > 0;) {
    const std::vector<ChannelModel>& channels = shape.model(layer).channels;
    for (size_t c = channels.size(); c-- > 0;) {
      size_t scale =
          scale_at(shape, channels[c].scale, coarser, static_cast<int8_t>(corrections[layer]));
      for (size_t token = shape.n_tokens; token > 0; token -= kLanes) {
        step -= kLanes;
        encode_step(lanes, level, scale, step);
      }
    }
  }
  return lanes.write(out);
}

Status decode_refinement(const ProgressiveShape& shape,
                         Level level,
                         ByteSpan corrections,
                         ByteSpan section,
                         const SectionPlace& place,
                         std::span<int16_t> quantised,
                         Workspace& workspace) {
  if (section.size() < kStatesBytes) {
    return damaged_section(place, "it ends before its states do");
  }
  SLUICE_TRY(LaneDecoder lanes, LaneDecoder::open(section, 0, 0, place, workspace.more_bytes));
  auto coarser = static_cast<Level>(static_cast<int>(level) + 1);
  int16_t* step = quantised.data();
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    for (const ChannelModel& channel : shape.model(layer).channels) {
      size_t scale =
          scale_at(shape, channel.scale, coarser, static_cast<int8_t>(corrections[layer]));
      for (size_t token = 0; token < shape.n_tokens; token += kLanes, step += kLanes) {
        decode_step(lanes, scale, step);
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
