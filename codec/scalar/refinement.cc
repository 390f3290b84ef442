// The oracle's rows that refine (FORMAT.md, "Symbols").
#include "codec/progressive_tables.h"
#include "codec/scalar/scalar.h"

namespace sluice::codec::scalar {
namespace {

void decode_step(LaneCursor& lanes, size_t scale, int16_t* values) {
  const auto& by_size = refinement_tables().by_slot[scale];
  LaneCodes codes;
  lanes.decode_symbols(
      [&](size_t lane) -> const DecodeTable& { return by_size[size_class(values[lane])]; }, codes);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    int lacks = codes[lane] - 1;
    values[lane] = static_cast<int16_t>(3 * values[lane] + (values[lane] < 0 ? -lacks : lacks));
  }
}

// Encodes 32 tokens of one component.
void encode_step(LaneSink& lanes, size_t scale, const int16_t* values) {
  lanes.encode_symbols([&](size_t lane) -> const SymbolRange& {
    const int value = values[lane];
    const int coarser = (value < 0 ? -1 : 1) * ((std::abs(value) + 1) / 3);
    const int lacks = value - 3 * coarser;
    const auto code = static_cast<size_t>((coarser < 0 ? -lacks : lacks) + 1);
    return refinement_tables().ranges[scale][size_class(coarser)][code];
  });
}

}  // namespace

void encode_refinement(LaneSink& lanes,
                       std::span<const uint8_t> scales,
                       size_t n_tokens,
                       const int16_t* values) {
  for_each_step_backwards(scales, n_tokens, values, [&](uint8_t scale, const int16_t* step) {
    encode_step(lanes, scale, step);
  });
}

bool decode_refinement(LaneCursor& lanes,
                       std::span<const uint8_t> scales,
                       size_t n_tokens,
                       int16_t* values) {
  for (uint8_t scale : scales) {
    for (size_t token = 0; token < n_tokens; token += kLanes, values += kLanes) {
      decode_step(lanes, scale, values);
      if (lanes.words_ran_out()) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace sluice::codec::scalar
