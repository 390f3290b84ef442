// The oracle's row exact (FORMAT.md, "Symbols").
#include "codec/progressive_tables.h"
#include "codec/residual_grid.h"
#include "codec/scalar/scalar.h"

namespace sluice::codec::scalar {
namespace {

void decode_step(LaneCursor& lanes,
                 const ResidualChannel& channel,
                 int correction,
                 uint16_t* elements) {
  std::array<Grid, kLanes> grids;
  std::array<size_t, kLanes> scales;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    grids[lane] = channel.grid(elements[lane]);
    scales[lane] = residual_scale(channel.width_on(grids[lane]), correction);
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

// Encodes 32 tokens of one channel.
void encode_step(LaneSink& lanes,
                 const ResidualChannel& channel,
                 int correction,
                 const uint16_t* restored,
                 const uint16_t* source) {
  std::array<int16_t, kLanes> residuals;
  std::array<size_t, kLanes> scales;
  LaneCodes codes;
  for (size_t lane = kLanes; lane-- > 0;) {
    const Grid grid = channel.grid(restored[lane]);
    const int16_t cell = grid.cell(source[lane]);
    residuals[lane] = static_cast<int16_t>(cell - grid.cell(restored[lane]));
    scales[lane] = residual_scale(channel.width_on(grid), correction);
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

}  // namespace

void count_residuals(const ResidualShape& shape,
                     size_t n_tokens,
                     const uint16_t* restored,
                     const uint16_t* source,
                     ResidualCounts& counts) {
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
}

void encode_residuals(LaneSink& lanes,
                      const ResidualShape& shape,
                      size_t n_tokens,
                      const uint16_t* restored,
                      const uint16_t* source) {
  size_t at = shape.model.channels.size() * n_tokens;
  for (size_t c = shape.model.channels.size(); c-- > 0;) {
    const ResidualChannel channel = residual_channel(shape, shape.model.channels[c]);
    for (size_t token = n_tokens; token > 0; token -= kLanes) {
      at -= kLanes;
      encode_step(lanes, channel, shape.correction, restored + at, source + at);
    }
  }
}

bool decode_residuals(LaneCursor& lanes,
                      const ResidualShape& shape,
                      size_t n_tokens,
                      uint16_t* elements) {
  for (const ChannelModel& model : shape.model.channels) {
    const ResidualChannel channel = residual_channel(shape, model);
    for (size_t token = 0; token < n_tokens; token += kLanes, elements += kLanes) {
      decode_step(lanes, channel, shape.correction, elements);
      if (lanes.words_ran_out()) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace sluice::codec::scalar
