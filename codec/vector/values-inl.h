// From quantised components to elements, and rows to columns (FORMAT.md, "Values", "Basis" and
// "Rotation"). Included once for each target by vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_VALUES) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_VALUES
#undef SLUICE_CODEC_VECTOR_VALUES
#else
#define SLUICE_CODEC_VECTOR_VALUES
#endif

#include <algorithm>
#include <bit>

#include "codec/progressive_rom.h"
#include "codec/scalar/scalar.h"
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
    const VI16 offset =
        hn::IfThenElse(hn::Gt(size, hn::Set(di16, 2)),
                       third,
                       hn::IfThenElse(hn::Gt(size, hn::Set(di16, 1)), second, first));
    const VI16 eighths = hn::Sub(hn::ShiftLeft<3>(size), offset);
    const VI16 coefficient = hn::Mul(eighths, eighth);
    // psignw: 0 where q is 0.
    hn::StoreU(VI16{_mm256_sign_epi16(coefficient.raw, q.raw)}, di16, coefficients + token);
  }
}

// kSign: -1 turns back.
template <int kSign>
HWY_INLINE void turn(const GivensPair& pair, size_t n_tokens, int16_t* values) {
  int16_t* first = values + pair.first * n_tokens;
  int16_t* second = values + pair.second * n_tokens;
  const VI16 cosine = hn::Set(di16, pair.cosine), sine = hn::Set(di16, pair.sine);
  const auto turn_16 = [&](size_t token) HWY_ATTR {
    const VI16 x = hn::LoadU(di16, first + token), y = hn::LoadU(di16, second + token);
    const VI16 x_cosine = hn::MulFixedPoint15(x, cosine), y_cosine = hn::MulFixedPoint15(y, cosine);
    const VI16 x_sine = hn::MulFixedPoint15(x, sine), y_sine = hn::MulFixedPoint15(y, sine);
    const VI16 new_x = kSign > 0 ? hn::Sub(x_cosine, y_sine) : hn::Add(x_cosine, y_sine);
    const VI16 new_y = kSign > 0 ? hn::Add(y_cosine, x_sine) : hn::Sub(y_cosine, x_sine);
    hn::StoreU(new_x, di16, first + token);
    hn::StoreU(new_y, di16, second + token);
  };
  for (size_t token = 0; token < n_tokens; token += kLanes) {
    turn_16(token);
    turn_16(token + 16);
  }
}

// Two rows of a product with one matrix, 32 tokens. `in` has coefficients of channels 2k and 2k + 1
// in turn, [k][token][2], tokens so that pair order of the results is memory order. Eight sums,
// which have names because GCC 12 copies arrays of vectors at each turn.
HWY_INLINE void multiply_two_rows(
    size_t channels, const int16_t* weights, const int16_t* in, int16_t* out, size_t n_tokens) {
  const VI32 half = hn::Set(di32, 1 << 14);
  VI32 a0 = half, a1 = half, a2 = half, a3 = half, b0 = half, b1 = half, b2 = half, b3 = half;
  // Four channels at once: GCC 12 copies each sum once a turn.
  const auto add_four = [](VI32 sum, VI16 c, V32 weight, VI16 next_c, V32 next_weight) HWY_ATTR {
    const VI32 two{_mm256_madd_epi16(c.raw, weight.raw)};
    const VI32 next_two{_mm256_madd_epi16(next_c.raw, next_weight.raw)};
    return hn::Add(sum, hn::Add(two, next_two));
  };
  const auto weights_at = [&](size_t k) HWY_ATTR {
    return hn::Set(d32, load_le<uint32_t>(reinterpret_cast<const uint8_t*>(weights + k)));
  };
  for (size_t k = 0; k < channels; k += 4, in += 4 * kLanes) {
    const V32 a = weights_at(k), next_a = weights_at(k + 2);
    const V32 b = weights_at(channels + k), next_b = weights_at(channels + k + 2);
    const auto c = [&](size_t i) HWY_ATTR { return hn::Load(di16, in + 16 * i); };
    a0 = add_four(a0, c(0), a, c(4), next_a);
    a1 = add_four(a1, c(1), a, c(5), next_a);
    a2 = add_four(a2, c(2), a, c(6), next_a);
    a3 = add_four(a3, c(3), a, c(7), next_a);
    b0 = add_four(b0, c(0), b, c(4), next_b);
    b1 = add_four(b1, c(1), b, c(5), next_b);
    b2 = add_four(b2, c(2), b, c(6), next_b);
    b3 = add_four(b3, c(3), b, c(7), next_b);
  }
  const auto store = [&](VI32 first, VI32 second, int16_t* to) {
    // Modulo 2^16, so the lower halves.
    const V32 low = hn::Set(d32, 0xffff);
    const V32 x = hn::And(hn::BitCast(d32, hn::ShiftRight<15>(first)), low);
    const V32 y = hn::And(hn::BitCast(d32, hn::ShiftRight<15>(second)), low);
    hn::StoreU(hn::BitCast(di16, to_pair(x, y)), di16, to);
  };
  store(a0, a1, out);
  store(a2, a3, out + 16);
  store(b0, b1, out + n_tokens);
  store(b2, b3, out + n_tokens + 16);
}

// 32 tokens of all channels, two channels in turn.
HWY_INLINE void interleave_channels(size_t channels,
                                    const int16_t* values,
                                    size_t n_tokens,
                                    int16_t* to) {
  for (size_t k = 0; k < channels; k += 2) {
    for (size_t half = 0; half < 2; ++half, to += kLanes) {
      const int16_t* at = values + k * n_tokens + 16 * half;
      const VI16 first = hn::LoadU(di16, at), second = hn::LoadU(di16, at + n_tokens);
      hn::Store(hn::InterleaveLower(di16, first, second), di16, to);
      hn::Store(hn::InterleaveUpper(di16, first, second), di16, to + 16);
    }
  }
}

constexpr size_t kAlign = 32 / sizeof(int16_t);

constexpr size_t scratch_of(size_t matrix_channels) {
  return matrix_channels * kLanes + kAlign;
}

// Every matrix, of rows by columns.
inline void multiply_all(std::span<const int16_t> matrices,
                         size_t size,
                         size_t n_tokens,
                         std::span<int16_t> values,
                         std::vector<int16_t>& scratch) {
  scratch.resize(std::max(scratch.size(), scratch_of(size)));
  const size_t misaligned = reinterpret_cast<uintptr_t>(scratch.data()) % 32 / sizeof(int16_t);
  int16_t* in = scratch.data() + (kAlign - misaligned) % kAlign;
  const int16_t* matrix = matrices.data();
  for (; !values.empty(); values = values.subspan(size * n_tokens), matrix += size * size) {
    for (size_t token = 0; token < n_tokens; token += kLanes) {
      interleave_channels(size, values.data() + token, n_tokens, in);
      for (size_t row = 0; row < size; row += 2) {
        multiply_two_rows(
            size, matrix + row * size, in, values.data() + row * n_tokens + token, n_tokens);
      }
    }
  }
}

inline void to_channels(const Basis& basis,
                        size_t n_tokens,
                        std::span<int16_t> values,
                        std::vector<int16_t>& scratch) {
  if (basis.matrix_channels % 4 != 0) {
    sluice::codec::to_channels(basis, n_tokens, values, scratch);
    return;
  }
  for (const GivensPair& pair : basis.pairs) {
    turn<1>(pair, n_tokens, values.data());
  }
  if (!basis.matrices.empty()) {
    multiply_all(basis.matrices, basis.matrix_channels, n_tokens, values, scratch);
  }
}

inline void transpose(const uint8_t* in, size_t rows, size_t columns, uint8_t* out);

inline void to_components(const Basis& basis,
                          size_t n_tokens,
                          std::span<int16_t> values,
                          std::vector<int16_t>& scratch) {
  const size_t size = basis.matrix_channels;
  if (size % 4 != 0) {
    sluice::codec::to_components(basis, n_tokens, values, scratch);
    return;
  }
  for (auto pair = basis.pairs.rbegin(); pair != basis.pairs.rend(); ++pair) {
    turn<-1>(*pair, n_tokens, values.data());
  }
  if (basis.matrices.empty()) {
    return;
  }
  // Rows of the transposed matrix, which lie behind what multiply_all needs.
  const size_t kept = scratch_of(size);
  scratch.resize(std::max(scratch.size(), kept + size * size));
  const int16_t* matrix = basis.matrices.data();
  for (; !values.empty(); values = values.subspan(size * n_tokens), matrix += size * size) {
    const std::span<int16_t> turned(scratch.data() + kept, size * size);
    transpose(reinterpret_cast<const uint8_t*>(matrix),
              size,
              size,
              reinterpret_cast<uint8_t*>(turned.data()));
    multiply_all(turned, size, n_tokens, values.first(size * n_tokens), scratch);
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
    const V16 q = hn::ShiftRightSame(hn::Add(size, rounding), static_cast<int>(step_bits));
    hn::StoreU(VI16{_mm256_sign_epi16(q.raw, value.raw)}, di16, values.data() + i);
  }
}

// 8 rows of 16 columns, as 16 rows of 8.
HWY_INLINE void transpose_block(const uint8_t* in, size_t columns, uint8_t* out, size_t rows) {
  std::array<V16, 8> row;
  for (size_t i = 0; i < 8; ++i) {
    row[i] = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(in + 2 * i * columns));
  }
  const hn::FixedTag<uint64_t, 4> d64;
  std::array<V32, 8> two;
  for (size_t i = 0; i < 4; ++i) {  // rows 2i and 2i + 1
    two[2 * i] = hn::BitCast(d32, hn::InterleaveLower(d16, row[2 * i], row[2 * i + 1]));
    two[2 * i + 1] = hn::BitCast(d32, hn::InterleaveUpper(d16, row[2 * i], row[2 * i + 1]));
  }
  for (size_t upper = 0; upper < 2; ++upper) {  // columns 0-3 and 4-7 of each block
    const auto a = hn::BitCast(d64, hn::InterleaveLower(d32, two[upper], two[2 + upper]));
    const auto b = hn::BitCast(d64, hn::InterleaveUpper(d32, two[upper], two[2 + upper]));
    const auto c = hn::BitCast(d64, hn::InterleaveLower(d32, two[4 + upper], two[6 + upper]));
    const auto d = hn::BitCast(d64, hn::InterleaveUpper(d32, two[4 + upper], two[6 + upper]));
    const std::array<hn::Vec<decltype(d64)>, 4> whole{hn::InterleaveLower(d64, a, c),
                                                      hn::InterleaveUpper(d64, a, c),
                                                      hn::InterleaveLower(d64, b, d),
                                                      hn::InterleaveUpper(d64, b, d)};
    for (size_t i = 0; i < 4; ++i) {
      const hn::FixedTag<uint64_t, 2> d_half;
      const size_t column = 4 * upper + i;
      hn::StoreU(hn::LowerHalf(d_half, whole[i]),
                 d_half,
                 reinterpret_cast<uint64_t*>(out + 2 * column * rows));
      hn::StoreU(hn::UpperHalf(d_half, whole[i]),
                 d_half,
                 reinterpret_cast<uint64_t*>(out + 2 * (column + 8) * rows));
    }
  }
}

inline void transpose(const uint8_t* in, size_t rows, size_t columns, uint8_t* out) {
  const size_t whole_rows = rows / 8 * 8, whole_columns = columns / 16 * 16;
  for (size_t column = 0; column < whole_columns; column += 16) {
    for (size_t row = 0; row < whole_rows; row += 8) {
      transpose_block(
          in + 2 * (row * columns + column), columns, out + 2 * (column * rows + row), rows);
    }
  }
  const auto move = [&](size_t row, size_t column) {
    store_le(out + 2 * (column * rows + row), load_le<uint16_t>(in + 2 * (row * columns + column)));
  };
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = row < whole_rows ? whole_columns : 0; column < columns; ++column) {
      move(row, column);
    }
  }
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
