// From elements to quantised components (FORMAT.md, "Encoding"). Included once for each target by
// vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_FIX) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_FIX
#undef SLUICE_CODEC_VECTOR_FIX
#else
#define SLUICE_CODEC_VECTOR_FIX
#endif

#include <algorithm>

#include "codec/kernels.h"
#include "codec/progressive_rom.h"
#include "codec/vector/restore-inl.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

// Eight elements as f32.
HWY_INLINE V32 as_f32(const ElementFormat& format, const uint8_t* elements, size_t token) {
  const hn::FixedTag<uint16_t, 8> d_half;
  if (format.dtype == DType::f32) {
    return hn::LoadU(d32, reinterpret_cast<const uint32_t*>(elements) + token);
  }
  const auto bits = hn::LoadU(d_half, reinterpret_cast<const uint16_t*>(elements) + token);
  if (format.dtype == DType::bf16) {
    return hn::ShiftLeft<16>(hn::PromoteTo(d32, bits));
  }
  const hn::FixedTag<float, 8> df;
  return hn::BitCast(d32, hn::PromoteTo(df, hn::BitCast(hn::FixedTag<hwy::float16_t, 8>(), bits)));
}

// As integers; `unfit`: those that have none, which are 0.
HWY_INLINE VI32 fixed(const ElementFormat& format, V32 f32_bits, hn::Mask<DI32>& unfit) {
  const VI32 bits = hn::BitCast(di32, f32_bits), one = hn::Set(di32, 1);
  const VI32 power = hn::And(hn::BitCast(di32, hn::ShiftRight<23>(f32_bits)), hn::Set(di32, 0xff));
  const VI32 fraction = hn::And(bits, hn::Set(di32, 0x7fffff));
  const VI32 significand =
      hn::Or(fraction, hn::IfThenElseZero(hn::Gt(power, hn::Zero(di32)), hn::Set(di32, 1 << 23)));
  const VI32 shift = hn::Sub(hn::Set(di32, 150 - format.exponent), hn::Max(power, one));
  unfit = hn::Or(hn::Eq(power, hn::Set(di32, 0xff)), hn::Lt(shift, one));
  const VI32 by = hn::Clamp(shift, one, hn::Set(di32, 31));
  const VI32 half = hn::Shl(one, hn::Sub(by, one));
  const VI32 magnitude = hn::IfThenZeroElse(unfit, hn::Shr(hn::Add(significand, half), by));
  const VI32 sign = hn::ShiftRight<31>(bits);
  return hn::Sub(hn::Xor(magnitude, sign), sign);
}

// What makes coefficients of a channel's values: a coefficient of 1 is mantissa / 2^shift.
struct ScaleDown {
  VI32 mean;
  V32 inverse;  // 2^45 / mantissa
  hn::Vec<hn::FixedTag<uint64_t, 4>> half;
  int down;
  V32 most;  // distance from the mean that has a coefficient

  explicit HWY_INLINE ScaleDown(const ChannelModel& model)
      : mean(hn::Set(di32, model.mean)), down(45 - model.shift) {
    const uint64_t factor = (uint64_t{1} << 45) / model.mantissa;
    const uint64_t rounding = uint64_t{1} << (down - 1);
    inverse = hn::Set(d32, static_cast<uint32_t>(factor));
    half = hn::Set(hn::FixedTag<uint64_t, 4>(), rounding);
    const uint64_t largest = ((uint64_t{32768} << down) - rounding - 1) / factor;
    most = hn::Set(d32, static_cast<uint32_t>(std::min<uint64_t>(largest, 0x7fffffff)));
  }

  // Coefficients of eight values; adds their energies.
  HWY_INLINE VI32 coefficients(VI32 values, hn::Mask<DI32> unfit, uint32_t* energies) const {
    const hn::FixedTag<uint64_t, 4> d64;
    const VI32 difference = hn::Sub(values, mean);
    const V32 distance = hn::BitCast(d32, hn::Abs(difference));
    const auto far = hn::Gt(hn::BitCast(di32, distance), hn::BitCast(di32, most));
    const V32 near = hn::IfThenZeroElse(hn::RebindMask(d32, far), distance);
    const auto scaled = [&](V32 even) HWY_ATTR {
      return hn::ShiftRightSame(hn::Add(hn::MulEven(even, inverse), half), down);
    };
    const V32 odd = hn::BitCast(d32, hn::ShiftRight<32>(hn::BitCast(d64, near)));
    const V32 size = hn::OddEven(hn::BitCast(d32, hn::ShiftLeft<32>(scaled(odd))),
                                 hn::BitCast(d32, scaled(near)));
    const V32 marked = hn::Set(d32, kEnergyMarked);
    const V32 energy =
        hn::IfThenElse(hn::RebindMask(d32, hn::Or(far, unfit)), marked, hn::Mul(size, size));
    const V32 sum = hn::Min(hn::Add(hn::LoadU(d32, energies), energy), marked);
    hn::StoreU(sum, d32, energies);
    const VI32 sign = hn::ShiftRight<31>(difference);
    return hn::Sub(hn::Xor(hn::BitCast(di32, size), sign), sign);
  }
};

HWY_INLINE void store_pair(VI32 low, VI32 high, int16_t* out) {
  hn::StoreU(swapped(hn::ReorderDemote2To(di16, low, high)), di16, out);
}

inline void fix_channel(const ElementFormat& format,
                        const ChannelModel& model,
                        size_t n_tokens,
                        const uint8_t* elements,
                        int16_t* coefficients,
                        uint32_t* energies) {
  const ScaleDown scale(model);
  for (size_t token = 0; token < n_tokens; token += 16) {
    std::array<VI32, 2> out;
    for (size_t half = 0; half < 2; ++half) {
      const size_t at = token + 8 * half;
      hn::Mask<DI32> unfit;
      const VI32 values = fixed(format, as_f32(format, elements, at), unfit);
      out[half] = scale.coefficients(values, unfit, energies + at);
    }
    store_pair(out[0], out[1], coefficients + token);
  }
}

inline void fix_pair(const ElementFormat& format,
                     const ChannelModel& first_model,
                     const ChannelModel& second_model,
                     std::span<const int32_t> cosines,
                     std::span<const int32_t> sines,
                     const uint8_t* first_elements,
                     const uint8_t* second_elements,
                     int16_t* first_coefficients,
                     int16_t* second_coefficients,
                     uint32_t* energies) {
  const ScaleDown first_scale(first_model), second_scale(second_model);
  for (size_t token = 0; token < cosines.size(); token += 16) {
    std::array<VI32, 2> first, second;
    for (size_t half = 0; half < 2; ++half) {
      const size_t at = token + 8 * half;
      hn::Mask<DI32> x_unfit, y_unfit;
      const VI32 x = fixed(format, as_f32(format, first_elements, at), x_unfit);
      const VI32 y = fixed(format, as_f32(format, second_elements, at), y_unfit);
      const VI32 cosine = hn::LoadU(di32, cosines.data() + at);
      const VI32 sine = hn::LoadU(di32, sines.data() + at);
      first[half] =
          first_scale.coefficients(turned<true>(x, cosine, y, sine), x_unfit, energies + at);
      second[half] =
          second_scale.coefficients(turned<false>(y, cosine, x, sine), y_unfit, energies + at);
    }
    store_pair(first[0], first[1], first_coefficients + token);
    store_pair(second[0], second[1], second_coefficients + token);
  }
}

inline void quantise(uint32_t step_bits, std::span<int16_t> values) {
  const V16 rounding = hn::Set(d16, static_cast<uint16_t>(kRoundingUp >> (16 - step_bits)));
  for (size_t i = 0; i < values.size(); i += 16) {
    const VI16 value = hn::LoadU(di16, values.data() + i);
    const V16 size = hn::BitCast(d16, hn::Abs(value));
    const V16 whole = hn::ShiftRightSame(hn::Add(size, rounding), static_cast<int>(step_bits));
    const V16 q = hn::Min(whole, hn::Set(d16, kQuantisedMax));
    hn::StoreU(VI16{_mm256_sign_epi16(q.raw, value.raw)}, di16, values.data() + i);
  }
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
