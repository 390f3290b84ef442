// The oracle: each of Kernels as plain loops that read like FORMAT.md. See kernels.h, where their
// signatures stand. Private to codec/.
#pragma once

#include <type_traits>

#include "codec/kernels.h"

namespace sluice::codec::scalar {

template <class Pointer>
using Function = std::remove_pointer_t<Pointer>;

Function<decltype(Kernels::decode_first)> decode_first;
Function<decltype(Kernels::decode_refinement)> decode_refinement;
Function<decltype(Kernels::decode_residuals)> decode_residuals;
Function<decltype(Kernels::decode_cells)> decode_cells;
Function<decltype(Kernels::add_low_bits)> add_low_bits;
Function<decltype(Kernels::centre_of)> centre_of;
Function<decltype(Kernels::weigh_tags)> weigh_tags;
Function<decltype(Kernels::pack_low_bits)> pack_low_bits;
Function<decltype(Kernels::encode_cells)> encode_cells;
Function<decltype(Kernels::place_in_steps)> place_in_steps;
Function<decltype(Kernels::restore_channel)> restore_channel;
Function<decltype(Kernels::restore_pair)> restore_pair;
Function<decltype(Kernels::fix_channel)> fix_channel;
Function<decltype(Kernels::fix_pair)> fix_pair;
Function<decltype(Kernels::quantise)> quantise;
Function<decltype(Kernels::coarsen)> coarsen;
Function<decltype(Kernels::add_first_costs)> add_first_costs;
Function<decltype(Kernels::encode_first)> encode_first;
Function<decltype(Kernels::encode_refinement)> encode_refinement;
Function<decltype(Kernels::count_residuals)> count_residuals;
Function<decltype(Kernels::encode_residuals)> encode_residuals;
Function<decltype(Kernels::transpose)> transpose;

// Calls step(scale, values of 32 tokens) for each step of a layer, the last first.
template <class Step>
void for_each_step_backwards(std::span<const uint8_t> scales,
                             size_t n_tokens,
                             const int16_t* values,
                             Step step) {
  values += scales.size() * n_tokens;
  for (size_t c = scales.size(); c-- > 0;) {
    for (size_t token = n_tokens; token > 0; token -= kLanes) {
      values -= kLanes;
      step(scales[c], values);
    }
  }
}

}  // namespace sluice::codec::scalar
