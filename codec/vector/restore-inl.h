// From quantised components to elements (FORMAT.md, "Values" and "Rotation"). Included once for
// each target by vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_RESTORE) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_RESTORE
#undef SLUICE_CODEC_VECTOR_RESTORE
#else
#define SLUICE_CODEC_VECTOR_RESTORE
#endif

#include <algorithm>
#include <bit>

#include "codec/kernels.h"
#include "codec/progressive_rom.h"
#include "codec/vector/lanes-inl.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

inline void place_in_steps(const StepPlace& place,
                           uint8_t scale,
                           std::span<const int16_t> quantised,
                           int16_t* coefficients) {
  const auto index = static_cast<size_t>(place.level) - 1;
  const auto& offsets = kOffsets[index][scale];
  constexpr int kThirds[] = {1, 3, 9};
  const VI16 eighth = hn::Set(di16, static_cast<int16_t>(kThirds[index] << (place.step_bits - 3)));
  const VI16 first = hn::Set(di16, offsets[0]), second = hn::Set(di16, offsets[1]),
             third = hn::Set(di16, offsets[2]);
  for (size_t token = 0; token < quantised.size(); token += 16) {
    const VI16 q = hn::LoadU(di16, quantised.data() + token);
    const VI16 size = hn::Abs(q);
    // Unsigned: the size of -32768 is 2^15.
    const V16 size_class = hn::Min(hn::BitCast(d16, size), hn::Set(d16, 3));
    const VI16 offset = hn::IfThenElse(
        hn::RebindMask(di16, hn::Eq(size_class, hn::Set(d16, 3))),
        third,
        hn::IfThenElse(hn::RebindMask(di16, hn::Eq(size_class, hn::Set(d16, 2))), second, first));
    const VI16 eighths = hn::Sub(hn::ShiftLeft<3>(size), offset);
    const VI16 coefficient = hn::Mul(eighths, eighth);
    // psignw: 0 where q is 0.
    hn::StoreU(VI16{_mm256_sign_epi16(coefficient.raw, q.raw)}, di16, coefficients + token);
  }
}

HWY_INLINE VI32 scaled_up(const ChannelModel& model, const int16_t* coefficients) {
  const hn::FixedTag<int16_t, 8> d_half;
  const VI32 coefficient = hn::PromoteTo(di32, hn::LoadU(d_half, coefficients));
  const VI32 product = hn::Mul(coefficient, hn::Set(di32, model.mantissa));
  const VI32 half = hn::Set(di32, 1 << (model.shift - 1));
  return hn::Add(hn::ShiftRightSame(hn::Add(product, half), model.shift),
                 hn::Set(di32, model.mean));
}

// (a x cosine - b x sine + 2^29) >> 30, the lower 32 bits. Products are of 64 bits: even lanes,
// then odd ones.
template <bool kAdd>
HWY_INLINE VI32 turned(VI32 a, VI32 cosine, VI32 b, VI32 sine) {
  const hn::FixedTag<int64_t, 4> d64;
  const hn::FixedTag<uint64_t, 4> du64;
  const auto odd = [&](VI32 v) {
    return hn::BitCast(di32, hn::ShiftRight<32>(hn::BitCast(du64, v)));
  };
  const auto half = hn::Set(d64, int64_t{1} << 29);
  const auto sum = [&](VI32 x, VI32 c, VI32 y, VI32 s) {
    const auto left = hn::Add(hn::MulEven(x, c), half), right = hn::MulEven(y, s);
    return hn::BitCast(du64, kAdd ? hn::Add(left, right) : hn::Sub(left, right));
  };
  const auto even_sum = hn::ShiftRight<30>(sum(a, cosine, b, sine));
  const auto odd_sum = hn::ShiftLeft<2>(sum(odd(a), odd(cosine), odd(b), odd(sine)));
  return hn::OddEven(hn::BitCast(di32, odd_sum), hn::BitCast(di32, even_sum));
}

// 16 tokens of a channel as elements. Integers below 2^24 and powers of two are exact in f32.
template <class Format>
HWY_INLINE void store_elements(const Format& format, VI32 low, VI32 high, uint8_t* out) {
  const hn::FixedTag<float, 8> df;
  format.store(hn::Mul(hn::ConvertTo(df, low), format.unit),
               hn::Mul(hn::ConvertTo(df, high), format.unit),
               out);
}

using VF = hn::Vec<hn::FixedTag<float, 8>>;

struct AsBf16 {
  static constexpr size_t kBytes = 2;
  VF unit;

  HWY_INLINE void store(VF low, VF high, uint8_t* out) const {
    hn::StoreU(narrowed(rounded(low), rounded(high)), d16, reinterpret_cast<uint16_t*>(out));
  }

  static HWY_INLINE V32 rounded(VF value) {
    const V32 bits = hn::BitCast(d32, value);
    const V32 tie = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1));
    return hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(d32, 0x7fff)), tie));
  }
};

struct AsF16 {
  static constexpr size_t kBytes = 2;
  VF unit;

  HWY_INLINE void store(VF low, VF high, uint8_t* out) const {
    const hn::FixedTag<hwy::float16_t, 8> d_half;
    const VF most = hn::Set(hn::FixedTag<float, 8>(), 65504.0f);
    const auto narrow = [&](VF value) {
      return hn::DemoteTo(d_half, hn::Clamp(value, hn::Neg(most), most));
    };
    auto* to = reinterpret_cast<hwy::float16_t*>(out);
    hn::StoreU(narrow(low), d_half, to);
    hn::StoreU(narrow(high), d_half, to + 8);
  }
};

struct AsF32 {
  static constexpr size_t kBytes = 4;
  VF unit;

  HWY_INLINE void store(VF low, VF high, uint8_t* out) const {
    const hn::FixedTag<float, 8> df;
    hn::StoreU(low, df, reinterpret_cast<float*>(out));
    hn::StoreU(high, df, reinterpret_cast<float*>(out) + 8);
  }
};

// Calls visit with the format of the stored dtype.
template <class Visit>
HWY_INLINE void with_format(const ElementFormat& format, Visit visit) {
  const VF unit = hn::Set(hn::FixedTag<float, 8>(),
                          std::bit_cast<float>(static_cast<uint32_t>(127 - format.exponent) << 23));
  switch (format.dtype) {
    case DType::bf16:
      return visit(AsBf16{unit});
    case DType::f16:
      return visit(AsF16{unit});
    default:
      return visit(AsF32{unit});
  }
}

inline void restore_channel(const ElementFormat& format,
                            const ChannelModel& model,
                            std::span<const int16_t> coefficients,
                            uint8_t* elements) {
  with_format(format, [&](auto as) {
    for (size_t token = 0; token < coefficients.size(); token += 16) {
      const int16_t* from = coefficients.data() + token;
      store_elements(
          as, scaled_up(model, from), scaled_up(model, from + 8), elements + token * as.kBytes);
    }
  });
}

inline void restore_pair(const ElementFormat& format,
                         const ChannelModel& first_model,
                         const ChannelModel& second_model,
                         std::span<const int32_t> cosines,
                         std::span<const int32_t> sines,
                         const int16_t* first_coefficients,
                         const int16_t* second_coefficients,
                         uint8_t* first_elements,
                         uint8_t* second_elements) {
  with_format(format, [&](auto as) {
    for (size_t token = 0; token < cosines.size(); token += 16) {
      std::array<VI32, 2> first, second;
      for (size_t half = 0; half < 2; ++half) {
        const size_t at = token + 8 * half;
        const VI32 x = scaled_up(first_model, first_coefficients + at);
        const VI32 y = scaled_up(second_model, second_coefficients + at);
        const VI32 cosine = hn::LoadU(di32, cosines.data() + at);
        const VI32 sine = hn::LoadU(di32, sines.data() + at);
        first[half] = turned<false>(x, cosine, y, sine);
        second[half] = turned<true>(y, cosine, x, sine);
      }
      store_elements(as, first[0], first[1], first_elements + token * as.kBytes);
      store_elements(as, second[0], second[1], second_elements + token * as.kBytes);
    }
  });
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
