// The codec's inner loops with vectors of 256 bits, through Highway, which picks at run time what
// the CPU has. AVX2 is the only target: a CPU with more runs it too. See kernels.h.
#include <vector>

#include "codec/kernels.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | (HWY_AVX2 - 1))  // better ones have lower bits
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/vector/vector_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#if HWY_TARGET == HWY_AVX2
#include "codec/vector/basis-inl.h"
#include "codec/vector/cells-inl.h"
#include "codec/vector/first-inl.h"
#include "codec/vector/fix-inl.h"
#include "codec/vector/refinement-inl.h"
#include "codec/vector/residual-inl.h"
#include "codec/vector/restore-inl.h"
#endif

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

const Kernels* kernels_of_target() {
#if HWY_TARGET == HWY_AVX2
  static const Kernels kernels{.name = "AVX2",
                               .decode_first = decode_first,
                               .decode_refinement = decode_refinement,
                               .decode_residuals = decode_residuals,
                               .decode_cells = decode_cells,
                               .add_low_bits = add_low_bits,
                               .centre_of = centre_of,
                               .weigh_tags = weigh_tags,
                               .pack_low_bits = pack_low_bits,
                               .encode_cells = encode_cells,
                               .place_in_steps = place_in_steps,
                               .to_channels = HWY_NAMESPACE::to_channels,
                               .restore_channel = restore_channel,
                               .restore_pair = restore_pair,
                               .fix_channel = fix_channel,
                               .fix_pair = fix_pair,
                               .to_components = HWY_NAMESPACE::to_components,
                               .quantise = quantise,
                               .coarsen = coarsen,
                               .add_first_costs = add_first_costs,
                               .encode_first = encode_first,
                               .encode_refinement = encode_refinement,
                               .count_residuals = count_residuals,
                               .encode_residuals = encode_residuals,
                               .transpose = transpose};
  return &kernels;
#else
  return nullptr;
#endif
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sluice::codec {

HWY_EXPORT(kernels_of_target);

const Kernels* vector_kernels() {
  return HWY_DYNAMIC_DISPATCH(kernels_of_target)();
}

}  // namespace sluice::codec
#endif
