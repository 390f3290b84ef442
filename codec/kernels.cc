#include "codec/kernels.h"

#include "codec/scalar/scalar.h"

namespace sluice::codec {

const Kernels& scalar_kernels() {
  static const Kernels kernels{.name = "scalar",
                               .decode_first = scalar::decode_first,
                               .decode_refinement = scalar::decode_refinement,
                               .decode_residuals = scalar::decode_residuals,
                               .decode_cells = scalar::decode_cells,
                               .add_low_bits = scalar::add_low_bits,
                               .centre_of = scalar::centre_of,
                               .weigh_tags = scalar::weigh_tags,
                               .pack_low_bits = scalar::pack_low_bits,
                               .encode_cells = scalar::encode_cells,
                               .place_in_steps = scalar::place_in_steps,
                               .to_channels = to_channels,
                               .restore_channel = scalar::restore_channel,
                               .restore_pair = scalar::restore_pair,
                               .fix_channel = scalar::fix_channel,
                               .fix_pair = scalar::fix_pair,
                               .to_components = to_components,
                               .quantise = scalar::quantise,
                               .coarsen = scalar::coarsen,
                               .add_first_costs = scalar::add_first_costs,
                               .encode_first = scalar::encode_first,
                               .encode_refinement = scalar::encode_refinement,
                               .count_residuals = scalar::count_residuals,
                               .encode_residuals = scalar::encode_residuals,
                               .transpose = scalar::transpose};
  return kernels;
}

const Kernels& best_kernels() {
  static const Kernels& best = vector_kernels() != nullptr ? *vector_kernels() : scalar_kernels();
  return best;
}

}  // namespace sluice::codec
