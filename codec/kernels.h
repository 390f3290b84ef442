// The inner loops of the codec, each over the rows of one layer of one plane. Two sets of them give
// the same bytes: the oracle, plain loops that read like FORMAT.md, and the same through Highway.
//
// Not what rows mean, nor errors: callers own these. Private to codec/. Bytes that are decoded are
// untrusted. Requires everywhere: n_tokens is a multiple of 32. A row is one channel's or
// component's tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codec/basis.h"
#include "codec/direct.h"
#include "codec/lanes.h"
#include "codec/profile.h"
#include "src/model/geometry.h"

namespace sluice::codec {

// How components of a layer stand in steps of a level.
struct StepPlace {
  Level level = Level::q1;
  uint32_t step_bits = 3;  // a step of q1 is 2^step_bits coefficients
};

// What elements of a layer's channels are stored as.
struct ElementFormat {
  DType stored = DType::bf16;
  int exponent = 0;  // of the fixed-point values, in units of 2^-exponent
};

// Residuals of a layer, behind a row of `level`.
struct ResidualShape {
  const PlaneModel& model;
  DType stored = DType::bf16;
  Level level = Level::q1;
  int correction = 0;
};

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
  // [row][column] to [column][row], elements of 2 bytes.
  void (*transpose)(const uint8_t* in, size_t rows, size_t columns, uint8_t* out);
};

const Kernels& scalar_kernels();

// Those of Highway for what this machine's CPU has; nullptr where it has no AVX2.
const Kernels* vector_kernels();

}  // namespace sluice::codec
