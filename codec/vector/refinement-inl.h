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
#include "codec/vector/sink-inl.h"

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

// Of 16 lanes: where their symbols 0 and 1 begin.
struct Bounds {
  V16 zero_from;
  V16 one_from;
};

// Sizes are unsigned: that of -32768 is 2^15.
HWY_INLINE Bounds bounds_at(V16 coarser_size, V16 bounds) {
  const V16 size = hn::Min(coarser_size, hn::Set(d16, kSizes - 1));
  // Bytes 2 size and 2 size + 1 of either half of the table.
  const V16 at = hn::Add(hn::Mul(size, hn::Set(d16, 0x0202)), hn::Set(d16, 0x0100));
  return {hn::TableLookupBytes(bounds, at),
          hn::TableLookupBytes(bounds, hn::Add(at, hn::Set(d16, 0x0808)))};
}

// 16 lanes in pair order: reads their slots, returns the refined values, and what advances them.
struct Refined {
  VI16 values;
  V16 frequency;
  V16 place;
};

HWY_INLINE Refined refined(VI16 coarser, V16 slots, V16 bounds) {
  const auto [zero_from, one_from] = bounds_at(hn::BitCast(d16, hn::Abs(coarser)), bounds);
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

// (size + 1) / 3, of 16 bits.
HWY_INLINE VI16 coarser_size(VI16 size) {
  const V16 one_more = hn::BitCast(d16, hn::Add(size, hn::Set(di16, 1)));
  return hn::BitCast(di16, hn::ShiftRight<1>(hn::MulHigh(one_more, hn::Set(d16, 0xaaab))));
}

struct RangeOfPair {
  V16 frequency;
  V16 below;
};

HWY_INLINE RangeOfPair range_of_refinement(VI16 value, V16 bounds) {
  const VI16 zero = hn::Zero(di16);
  const VI16 size = hn::Abs(value), coarser = coarser_size(size);
  const VI16 thrice = hn::Add(coarser, hn::Add(coarser, coarser));
  const VI16 lacks = hn::IfThenElse(hn::Eq(coarser, zero), value, hn::Sub(size, thrice));
  const auto [zero_from, one_from] = bounds_at(hn::BitCast(d16, coarser), bounds);
  const auto minus = hn::RebindMask(d16, hn::Lt(lacks, zero));
  const auto plus = hn::RebindMask(d16, hn::Gt(lacks, zero));
  const V16 below = hn::IfThenElse(plus, one_from, hn::IfThenZeroElse(minus, zero_from));
  const V16 end = hn::IfThenElse(
      plus, hn::Set(d16, kFrequencyTotal), hn::IfThenElse(minus, zero_from, one_from));
  return {hn::Sub(end, below), below};
}

inline void encode_refinement(LaneSink& lanes,
                              std::span<const uint8_t> scales,
                              size_t n_tokens,
                              const int16_t* values) {
  Sink sink(lanes);
  const int16_t* step = values + scales.size() * n_tokens;
  for (size_t c = scales.size(); c-- > 0;) {
    const V16 bounds = hn::LoadDup128(d16, refinement_bounds(scales[c]).below.data());
    for (size_t token = n_tokens; token > 0; token -= kLanes) {
      step -= kLanes;
      for (size_t half = 2; half-- > 0;) {
        const auto [frequency, below] =
            range_of_refinement(swapped(hn::LoadU(di16, step + 16 * half)), bounds);
        const V16 zero = hn::Zero(d16);
        sink.encode(
            2 * half + 1, hn::ZipUpper(d32, frequency, zero), hn::ZipUpper(d32, below, zero));
        sink.encode(2 * half, hn::ZipLower(d32, frequency, zero), hn::ZipLower(d32, below, zero));
      }
    }
  }
  sink.save(lanes);
}

inline void coarsen(Level level, std::span<const int16_t> finest, int16_t* values) {
  for (size_t i = 0; i < finest.size(); i += 16) {
    const VI16 value = hn::LoadU(di16, finest.data() + i);
    VI16 size = hn::Abs(value);
    for (auto times = static_cast<int>(level); times > 1; --times) {
      size = coarser_size(size);
    }
    hn::StoreU(VI16{_mm256_sign_epi16(size.raw, value.raw)}, di16, values + i);
  }
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
