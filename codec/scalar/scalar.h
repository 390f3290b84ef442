// The oracle: each of Kernels as plain loops that read like FORMAT.md. See kernels.h. Private to
// codec/.
#pragma once

#include "codec/kernels.h"

namespace sluice::codec::scalar {

bool decode_first(LaneCursor& lanes,
                  std::span<const uint8_t> scales,
                  size_t n_tokens,
                  int16_t* values);
bool decode_refinement(LaneCursor& lanes,
                       std::span<const uint8_t> scales,
                       size_t n_tokens,
                       int16_t* values);
bool decode_residuals(LaneCursor& lanes,
                      const ResidualShape& shape,
                      size_t n_tokens,
                      uint16_t* elements);
bool decode_cells(LaneCursor& lanes,
                  const DirectShape& shape,
                  const DirectTags& tags,
                  uint16_t* values);
void add_low_bits(const uint8_t* bits, uint32_t low_bits, size_t n_tokens, uint16_t* values);
uint16_t centre_of(std::span<const uint16_t> channel, uint32_t mantissa_bits);
void weigh_tags(const DirectShape& shape,
                std::span<const uint16_t> channel,
                int centre,
                TagCosts& costs);
void pack_low_bits(const uint16_t* values, uint32_t low_bits, size_t n_tokens, uint8_t* out);
void encode_cells(LaneSink& lanes,
                  const DirectShape& shape,
                  const DirectTags& tags,
                  const uint16_t* values);
void place_in_steps(const StepPlace& place,
                    uint8_t scale,
                    std::span<const int16_t> quantised,
                    int16_t* coefficients);
void restore_channel(const ElementFormat& format,
                     const ChannelModel& model,
                     std::span<const int16_t> coefficients,
                     uint8_t* elements);
void restore_pair(const ElementFormat& format,
                  const ChannelModel& first_model,
                  const ChannelModel& second_model,
                  std::span<const int32_t> cosines,
                  std::span<const int32_t> sines,
                  const int16_t* first_coefficients,
                  const int16_t* second_coefficients,
                  uint8_t* first_elements,
                  uint8_t* second_elements);
void fix_channel(const ElementFormat& format,
                 const ChannelModel& model,
                 size_t n_tokens,
                 const uint8_t* elements,
                 int16_t* coefficients,
                 uint32_t* energies);
void fix_pair(const ElementFormat& format,
              const ChannelModel& first_model,
              const ChannelModel& second_model,
              std::span<const int32_t> cosines,
              std::span<const int32_t> sines,
              const uint8_t* first_elements,
              const uint8_t* second_elements,
              int16_t* first_coefficients,
              int16_t* second_coefficients,
              uint32_t* energies);
void quantise(uint32_t step_bits, std::span<int16_t> values);
void coarsen(Level level, std::span<const int16_t> finest, int16_t* values);
void add_first_costs(std::span<const uint8_t> scales,
                     size_t n_tokens,
                     const int16_t* values,
                     CorrectionCosts& costs);
void encode_first(LaneSink& lanes,
                  std::span<const uint8_t> scales,
                  size_t n_tokens,
                  const int16_t* values);
void encode_refinement(LaneSink& lanes,
                       std::span<const uint8_t> scales,
                       size_t n_tokens,
                       const int16_t* values);
void count_residuals(const ResidualShape& shape,
                     size_t n_tokens,
                     const uint16_t* restored,
                     const uint16_t* source,
                     ResidualCounts& counts);
void encode_residuals(LaneSink& lanes,
                      const ResidualShape& shape,
                      size_t n_tokens,
                      const uint16_t* restored,
                      const uint16_t* source);
void transpose(const uint8_t* in, size_t rows, size_t columns, uint8_t* out);

}  // namespace sluice::codec::scalar
