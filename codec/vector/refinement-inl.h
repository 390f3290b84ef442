// Rows that refine: three symbols, whose bounds come from one of four small tables by the coarser
// value, in 16 bits, without a gather. Included once for each target by vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_REFINEMENT) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_REFINEMENT
#undef SLUICE_CODEC_VECTOR_REFINEMENT
#else
#define SLUICE_CODEC_VECTOR_REFINEMENT
#endif

#include "codec/progressive_tables.h"
#include "codec/vector/lanes-inl.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

// Bounds of one scale: below symbol 0 for each of the four sizes, then below symbol 1.
struct RefinementBounds {
  alignas(16) std::array<uint16_t, 8> below{};

  explicit RefinementBounds(const std::array<std::array<uint16_t, 3>, kSizes>& frequencies) {
    for (size_t size = 0; size < kSizes; ++size) {
      below[size] = frequencies[size][0];
      below[kSizes + size] = static_cast<uint16_t>(frequencies[size][0] + frequencies[size][1]);
    }
  }
};

inline const RefinementBounds& refinement_bounds(size_t scale) {
  static const std::vector<RefinementBounds> bounds(kRefinements.begin(), kRefinements.end());
  return bounds[scale];
}

// 16 lanes in pair order: reads their slots, returns the refined values, and what advances them.
struct Refined {
  VI16 values;
  V16 frequency;
  V16 place;
};

HWY_INLINE Refined refined(VI16 coarser, V16 slots, V16 bounds) {
  // Unsigned: that of -32768 is 2^15.
  const V16 size = hn::Min(hn::BitCast(d16, hn::Abs(coarser)), hn::Set(d16, kSizes - 1));
  // Bytes 2 size and 2 size + 1 of either half of the table.
  const V16 at = hn::Add(hn::Mul(size, hn::Set(d16, 0x0202)), hn::Set(d16, 0x0100));
  const V16 zero_from = hn::TableLookupBytes(bounds, at);
  const V16 one_from = hn::TableLookupBytes(bounds, hn::Add(at, hn::Set(d16, 0x0808)));
  const VI16 slot = hn::BitCast(di16, slots);
  const auto is_minus = hn::Gt(hn::BitCast(di16, zero_from), slot);
  const auto is_not_plus = hn::Gt(hn::BitCast(di16, one_from), slot);
  const auto minus = hn::RebindMask(d16, is_minus), not_plus = hn::RebindMask(d16, is_not_plus);
  const V16 below = hn::IfThenElse(not_plus, hn::IfThenZeroElse(minus, zero_from), one_from);
  const V16 end = hn::IfThenElse(
      minus, zero_from, hn::IfThenElse(not_plus, one_from, hn::Set(d16, kFrequencyTotal)));
  const VI16 lacks =
      hn::Add(hn::Set(di16, 1),
              hn::Add(hn::VecFromMask(di16, is_minus), hn::VecFromMask(di16, is_not_plus)));
  const VI16 sign = hn::ShiftRight<15>(coarser);
  const VI16 turned = hn::Sub(hn::Xor(lacks, sign), sign);
  return {.values = hn::Add(hn::Add(coarser, hn::Add(coarser, coarser)), turned),
          .frequency = hn::Sub(end, below),
          .place = hn::Sub(slots, below)};
}

inline bool decode_refinement(LaneCursor& cursor,
                              std::span<const uint8_t> scales,
                              size_t n_tokens,
                              int16_t* values) {
  Lanes lanes(cursor);
  for (uint8_t scale : scales) {
    const V16 bounds = hn::LoadDup128(d16, refinement_bounds(scale).below.data());
    for (size_t token = 0; token < n_tokens; token += kLanes, values += kLanes) {
      for (size_t half = 0; half < 2; ++half) {
        const size_t i = 2 * half;
        const VI16 coarser = swapped(hn::LoadU(di16, values + 16 * half));
        const Refined step = refined(coarser, to_pair(lanes.slots(i), lanes.slots(i + 1)), bounds);
        hn::StoreU(swapped(step.values), di16, values + 16 * half);
        const V16 zero = hn::Zero(d16);
        lanes.advance(
            i, hn::ZipLower(d32, step.frequency, zero), hn::ZipLower(d32, step.place, zero));
        lanes.advance(
            i + 1, hn::ZipUpper(d32, step.frequency, zero), hn::ZipUpper(d32, step.place, zero));
      }
      if (ran_out(lanes, cursor)) {
        return false;
      }
    }
  }
  lanes.save(cursor);
  return true;
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
