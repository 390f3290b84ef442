// The inner loops of the codec, each over the rows of one layer of one plane. Two sets of them give
// the same bytes: the oracle, plain loops that read like FORMAT.md, and the same through Highway.
//
// Not what rows mean, nor errors: callers own these. Private to codec/. Bytes that are decoded are
// untrusted. Requires everywhere: n_tokens is a multiple of 32. A row is one channel's or
// component's tokens.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/basis.h"
#include "codec/direct.h"
#include "codec/direct_tables.h"
#include "codec/lanes.h"
#include "codec/profile.h"
#include "codec/progressive_tables.h"
#include "src/model/geometry.h"

namespace sluice::codec {

// How components of a layer stand in steps of a level.
struct StepPlace {
  Level level = Level::q1;
  uint32_t step_bits = 3;  // a step of q1 is 2^step_bits coefficients
};

// Elements of a layer's channels: f32, f16 or bf16.
struct ElementFormat {
  DType dtype = DType::bf16;
  int exponent = 0;  // of the fixed-point values, in units of 2^-exponent
};

// Residuals of a layer, behind a row of `level`.
struct ResidualShape {
  const PlaneModel& model;
  DType stored = DType::bf16;
  Level level = Level::q1;
  int correction = 0;
};

// How often residuals occur, by the width of their grid, in half octaves of cells from -kWidthZero
// on, and the bit width of their magnitude.
inline constexpr int kWidths = 288;
inline constexpr int kWidthZero = 144;
inline constexpr size_t kMagnitudes = 17;
using ResidualCounts = std::array<std::array<uint32_t, kMagnitudes>, kWidths>;

// Above every energy of a token that is quantised.
inline constexpr uint32_t kEnergyMarked = 1u << 30;

struct Kernels {
  const char* name;

  // Decode a layer's rows from the lanes. False: the words ran out, or a value is none.
  // `scales`: of each component, its number in the ROM.
  bool (*decode_first)(LaneCursor& lanes,
                       std::span<const uint8_t> scales,
                       size_t n_tokens,
                       int16_t* values);
  // From values of the next coarser level to those of the row's, in place.
  bool (*decode_refinement)(LaneCursor& lanes,
                            std::span<const uint8_t> scales,
                            size_t n_tokens,
                            int16_t* values);
  // From the elements that the rows before it give to the source's, in place.
  bool (*decode_residuals)(LaneCursor& lanes,
                           const ResidualShape& shape,
                           size_t n_tokens,
                           uint16_t* elements);
  // Signs and cells of a section of `direct`, low bits zero; rows of channels that are not coded
  // stay as they are.
  bool (*decode_cells)(LaneCursor& lanes,
                       const DirectShape& shape,
                       const DirectTags& tags,
                       uint16_t* values);
  // Adds a row's low bits, 6 or 9. Requires: 32 readable bytes behind them.
  void (*add_low_bits)(const uint8_t* bits, uint32_t low_bits, size_t n_tokens, uint16_t* values);

  // A channel's centre: its mean position in cells, outliers and zeros clamped to 3 octaves.
  uint16_t (*centre_of)(std::span<const uint16_t> channel, uint32_t mantissa_bits);
  // Adds what a channel would cost with the tags of `centre` and its neighbours.
  void (*weigh_tags)(const DirectShape& shape,
                     std::span<const uint16_t> channel,
                     int centre,
                     TagCosts& costs);
  // A row's low bits, 6 or 9, as add_low_bits takes them. Writes up to 2 zeros behind them.
  void (*pack_low_bits)(const uint16_t* values, uint32_t low_bits, size_t n_tokens, uint8_t* out);
  // Signs and cells, from the last step to the first.
  void (*encode_cells)(LaneSink& lanes,
                       const DirectShape& shape,
                       const DirectTags& tags,
                       const uint16_t* values);

  // What a component's values of a level stand for, in coefficients modulo 2^16.
  void (*place_in_steps)(const StepPlace& place,
                         uint8_t scale,
                         std::span<const int16_t> quantised,
                         int16_t* coefficients);
  // See basis.h.
  void (*to_channels)(const Basis& basis,
                      size_t n_tokens,
                      std::span<int16_t> values,
                      std::vector<int16_t>& scratch);
  // Coefficients of one channel to elements.
  void (*restore_channel)(const ElementFormat& format,
                          const ChannelModel& model,
                          std::span<const int16_t> coefficients,
                          uint8_t* elements);
  // The same for two that rotate together; cosines and sines of every token.
  void (*restore_pair)(const ElementFormat& format,
                       const ChannelModel& first_model,
                       const ChannelModel& second_model,
                       std::span<const int32_t> cosines,
                       std::span<const int32_t> sines,
                       const int16_t* first_coefficients,
                       const int16_t* second_coefficients,
                       uint8_t* first_elements,
                       uint8_t* second_elements);
  // Elements of one channel to coefficients, less its mean. `energies`, of each token: their
  // squares are added, up to kEnergyMarked; an element that has no coefficient is 0 and makes it
  // that.
  void (*fix_channel)(const ElementFormat& format,
                      const ChannelModel& model,
                      size_t n_tokens,
                      const uint8_t* elements,
                      int16_t* coefficients,
                      uint32_t* energies);
  // The same for two that are rotated together.
  void (*fix_pair)(const ElementFormat& format,
                   const ChannelModel& first_model,
                   const ChannelModel& second_model,
                   std::span<const int32_t> cosines,
                   std::span<const int32_t> sines,
                   const uint8_t* first_elements,
                   const uint8_t* second_elements,
                   int16_t* first_coefficients,
                   int16_t* second_coefficients,
                   uint32_t* energies);
  // See basis.h.
  void (*to_components)(const Basis& basis,
                        size_t n_tokens,
                        std::span<int16_t> values,
                        std::vector<int16_t>& scratch);
  // Coefficients to values of level q1, in place.
  void (*quantise)(uint32_t step_bits, std::span<int16_t> values);
  // Values of level q1 to those of another.
  void (*coarsen)(Level level, std::span<const int16_t> finest, int16_t* values);

  // Adds what a layer's first row would cost under each correction, in 1/128 bit.
  void (*add_first_costs)(std::span<const uint8_t> scales,
                          size_t n_tokens,
                          const int16_t* values,
                          CorrectionCosts& costs);
  // Encode a layer's rows, from their last step to their first. `values`: of the row's level.
  void (*encode_first)(LaneSink& lanes,
                       std::span<const uint8_t> scales,
                       size_t n_tokens,
                       const int16_t* values);
  void (*encode_refinement)(LaneSink& lanes,
                            std::span<const uint8_t> scales,
                            size_t n_tokens,
                            const int16_t* values);
  void (*count_residuals)(const ResidualShape& shape,
                          size_t n_tokens,
                          const uint16_t* restored,
                          const uint16_t* source,
                          ResidualCounts& counts);
  void (*encode_residuals)(LaneSink& lanes,
                           const ResidualShape& shape,
                           size_t n_tokens,
                           const uint16_t* restored,
                           const uint16_t* source);

  // [row][column] to [column][row], elements of 2 bytes.
  void (*transpose)(const uint8_t* in, size_t rows, size_t columns, uint8_t* out);
};

const Kernels& scalar_kernels();

// Those of Highway for what this machine's CPU has; nullptr where it has no AVX2.
const Kernels* vector_kernels();

}  // namespace sluice::codec
