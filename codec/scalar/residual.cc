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

}  // namespace

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
