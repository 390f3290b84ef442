// Row exact (FORMAT.md, "Symbols"). Included once for each target by vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_RESIDUAL) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_RESIDUAL
#undef SLUICE_CODEC_VECTOR_RESIDUAL
#else
#define SLUICE_CODEC_VECTOR_RESIDUAL
#endif

#include <algorithm>
#include <vector>

#include "codec/progressive_tables.h"
#include "codec/residual_grid.h"
#include "codec/vector/gathered-inl.h"
#include "codec/vector/sink-inl.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

// Eight elements and where they stand on their grids.
struct Restored {
  VI32 width;
  VI32 cell;
  VI32 power;
  V32 scale;
};

// Where elements stand on grids of these powers, which are not below their own.
HWY_INLINE VI32 cell_of(uint32_t mantissa_bits, V32 element, VI32 power) {
  const int digits = static_cast<int>(mantissa_bits);
  const VI32 magnitude = hn::BitCast(di32, hn::And(element, hn::Set(d32, 0x7fff)));
  const VI32 own = hn::Max(hn::ShiftRightSame(magnitude, digits), hn::Set(di32, 1));
  const VI32 one = hn::Set(di32, 1);
  const VI32 significand = hn::Sub(magnitude, hn::ShiftLeftSame(hn::Sub(own, one), digits));
  const VI32 beyond = hn::Sub(magnitude, hn::ShiftLeftSame(hn::Sub(power, one), digits));
  const VI32 down = hn::Sub(power, own);
  const V32 within = hn::Shr(hn::BitCast(d32, significand), hn::BitCast(d32, down));
  const VI32 number =
      hn::IfThenElse(hn::Gt(down, hn::Zero(di32)), hn::BitCast(di32, within), beyond);
  const VI32 sign = hn::Neg(hn::BitCast(di32, hn::ShiftRight<15>(element)));
  return hn::Xor(number, sign);
}

HWY_INLINE Restored restored_at(const ResidualChannel& channel, int correction, V32 element) {
  const VI32 field = hn::BitCast(di32,
                                 hn::ShiftRightSame(hn::And(element, hn::Set(d32, 0x7fff)),
                                                    static_cast<int>(channel.mantissa_bits)));
  const VI32 power = hn::Max(field, hn::Set(di32, channel.least_power));
  const VI32 width = hn::Clamp(hn::Sub(hn::Set(di32, channel.width), hn::ShiftLeft<1>(power)),
                               hn::Set(di32, -kWidthZero),
                               hn::Set(di32, kWidths - kWidthZero - 1));
  const VI32 scale = hn::Clamp(hn::Add(width, hn::Set(di32, correction)),
                               hn::Zero(di32),
                               hn::Set(di32, static_cast<int>(kScales) - 1));
  return {width, cell_of(channel.mantissa_bits, element, power), power, hn::BitCast(d32, scale)};
}

// The ROM's low bits: 1 from scale 10 on, one more every other scale.
HWY_INLINE VI32 residual_low_bits(V32 scale) {
  const VI32 over = hn::Sub(hn::BitCast(di32, scale), hn::Set(di32, 8));
  return hn::ShiftRight<1>(hn::Max(over, hn::Zero(di32)));
}

// Modulo 2^16, in two's complement.
HWY_INLINE VI32 wrapped(VI32 value) {
  return hn::ShiftRight<16>(hn::ShiftLeft<16>(value));
}

// Of non-negative integers below 2^24.
HWY_INLINE VI32 bit_width(VI32 number) {
  const hn::FixedTag<float, 8> df;
  const V32 exponent = hn::ShiftRight<23>(hn::BitCast(d32, hn::ConvertTo(df, number)));
  return hn::Max(hn::Sub(hn::BitCast(di32, exponent), hn::Set(di32, 126)), hn::Zero(di32));
}

// Bits of each cell's magnitude that it does not tell.
HWY_INLINE V32 hidden_bits(const ResidualChannel& channel, VI32 number, VI32 power) {
  const VI32 width = bit_width(number);
  const VI32 whole = hn::Set(di32, static_cast<int>(channel.mantissa_bits) + 1);
  const VI32 lacks = hn::Min(hn::Sub(whole, width), hn::Sub(power, hn::Set(di32, 1)));
  const VI32 bits = hn::Max(lacks, hn::Zero(di32));
  return hn::BitCast(
      d32, hn::IfThenElse(hn::Eq(number, hn::Zero(di32)), hn::Set(di32, kMagnitudeBits), bits));
}

HWY_INLINE void decode_residual_step(Lanes& lanes,
                                     const uint32_t* entries,
                                     const ResidualChannel& channel,
                                     int correction,
                                     uint16_t* elements) {
  std::array<Restored, 4> restored;
  std::array<VI32, 4> codes, cells;
  for (size_t i = 0; i < 4; ++i) {
    const hn::FixedTag<uint16_t, 8> d_half;
    restored[i] =
        restored_at(channel, correction, hn::PromoteTo(d32, hn::LoadU(d_half, elements + 8 * i)));
    codes[i] = decode_gathered(lanes, i, entries, restored[i].scale);
  }
  for (size_t i = 0; i < 4; ++i) {
    const VI32 low = residual_low_bits(restored[i].scale);
    const auto escaped = hn::Eq(codes[i], hn::Set(di32, kEscapeCode));
    const VI32 bits = hn::IfThenElse(escaped, hn::Set(di32, kResidualBits), low);
    const VI32 taken = hn::BitCast(di32, lanes.take(i, hn::BitCast(d32, bits)));
    const VI32 symbol = hn::Sub(codes[i], hn::Set(di32, kSymbolZero));
    const VI32 split = hn::Add(hn::Shl(symbol, low), taken);
    const VI32 cell = hn::Add(restored[i].cell, hn::IfThenElse(escaped, taken, split));
    cells[i] = wrapped(cell);
  }
  std::array<V32, 4> out;
  for (size_t i = 0; i < 4; ++i) {
    const int mantissa_bits = static_cast<int>(channel.mantissa_bits);
    const VI32 sign = hn::ShiftRight<31>(cells[i]);
    const VI32 number = hn::Xor(cells[i], sign);
    const V32 bits = hidden_bits(channel, number, restored[i].power);
    const V32 hidden = lanes.take(i, bits);
    const V32 power = hn::BitCast(d32, restored[i].power);
    const V32 above =
        hn::ShiftLeftSame(hn::Sub(hn::Sub(power, bits), hn::Set(d32, 1)), mantissa_bits);
    const V32 shown = hn::Add(hn::Shl(hn::BitCast(d32, number), bits), above);
    const auto is_zero = hn::RebindMask(d32, hn::Eq(number, hn::Zero(di32)));
    const V32 magnitude = hn::Add(hn::IfThenZeroElse(is_zero, shown), hidden);
    out[i] = hn::Or(hn::And(magnitude, hn::Set(d32, 0x7fff)),
                    hn::And(hn::BitCast(d32, sign), hn::Set(d32, 0x8000)));
  }
  for (size_t half = 0; half < 2; ++half) {
    hn::StoreU(narrowed(out[2 * half], out[2 * half + 1]), d16, elements + 16 * half);
  }
}

inline bool decode_residuals(LaneCursor& cursor,
                             const ResidualShape& shape,
                             size_t n_tokens,
                             uint16_t* elements) {
  static const std::vector<uint32_t> entries = slot_entries(residual_tables().by_slot);
  Lanes lanes(cursor);
  for (const ChannelModel& model : shape.model.channels) {
    const ResidualChannel channel = residual_channel(shape, model);
    for (size_t token = 0; token < n_tokens; token += kLanes, elements += kLanes) {
      decode_residual_step(lanes, entries.data(), channel, shape.correction, elements);
      if (ran_out(lanes, cursor)) {
        return false;
      }
    }
  }
  lanes.save(cursor);
  return true;
}

// By scale and code: [31:16] frequency, [15:0] below.
inline const uint32_t* residual_ranges() {
  static const std::vector<uint32_t> ranges = [] {
    std::vector<uint32_t> built;
    for (const auto& of_scale : residual_tables().ranges) {
      for (const SymbolRange& range : of_scale) {
        built.push_back(range.frequency << 16 | range.below);
      }
    }
    return built;
  }();
  return ranges.data();
}

// Scales below this one have symbols -3 to 3, others -15 to 15.
inline int first_wide_residual() {
  static const auto first = std::find_if(kResidualModels.begin(),
                                         kResidualModels.end(),
                                         [](const ScaleModel& m) { return m.frequencies[0] != 0; });
  return static_cast<int>(first - kResidualModels.begin());
}

inline void count_residuals(const ResidualShape& shape,
                            size_t n_tokens,
                            const uint16_t* restored,
                            const uint16_t* source,
                            ResidualCounts& counts) {
  const hn::FixedTag<uint16_t, 8> d_half;
  uint32_t* count = counts.front().data();
  alignas(32) std::array<int32_t, 8> at;
  for (const ChannelModel& model : shape.model.channels) {
    const ResidualChannel channel = residual_channel(shape, model);
    for (size_t token = 0; token < n_tokens; token += 8, restored += 8, source += 8) {
      const V32 element = hn::PromoteTo(d32, hn::LoadU(d_half, source));
      const Restored before =
          restored_at(channel, 0, hn::PromoteTo(d32, hn::LoadU(d_half, restored)));
      const VI32 cell = cell_of(channel.mantissa_bits, element, before.power);
      const VI32 size = hn::Abs(wrapped(hn::Sub(cell, before.cell)));
      const VI32 row = hn::Add(before.width, hn::Set(di32, kWidthZero));
      const VI32 start = hn::Mul(row, hn::Set(di32, static_cast<int>(kMagnitudes)));
      hn::Store(hn::Add(start, bit_width(size)), di32, at.data());
      for (int32_t i : at) {
        ++count[i];
      }
    }
  }
}

HWY_INLINE void encode_residual_step(Sink& sink,
                                     const uint32_t* ranges,
                                     int first_wide,
                                     const ResidualChannel& channel,
                                     int correction,
                                     const uint16_t* restored,
                                     const uint16_t* source) {
  const hn::FixedTag<uint16_t, 8> d_half;
  std::array<VI32, 4> residuals, low_bits, codes;
  std::array<V32, 4> scales;
  for (size_t i = 4; i-- > 0;) {
    const V32 before = hn::PromoteTo(d32, hn::LoadU(d_half, restored + 8 * i));
    const V32 element = hn::PromoteTo(d32, hn::LoadU(d_half, source + 8 * i));
    const Restored at = restored_at(channel, correction, before);
    const VI32 cell = cell_of(channel.mantissa_bits, element, at.power);
    const VI32 number = hn::Xor(cell, hn::ShiftRight<31>(cell));
    sink.give(i, element, hidden_bits(channel, number, at.power));
    residuals[i] = wrapped(hn::Sub(cell, at.cell));
    low_bits[i] = residual_low_bits(at.scale);
    scales[i] = at.scale;
  }
  for (size_t i = 4; i-- > 0;) {
    const VI32 symbol = hn::Shr(residuals[i], low_bits[i]);
    const auto is_narrow = hn::Lt(hn::BitCast(di32, scales[i]), hn::Set(di32, first_wide));
    const VI32 most = hn::IfThenElse(is_narrow, hn::Set(di32, 3), hn::Set(di32, kSymbolZero));
    const auto known = at_least(most, hn::Abs(symbol));
    codes[i] = hn::IfThenElse(
        known, hn::Add(symbol, hn::Set(di32, kSymbolZero)), hn::Set(di32, kEscapeCode));
    const VI32 bits = hn::IfThenElse(known, low_bits[i], hn::Set(di32, kResidualBits));
    sink.give(i, hn::BitCast(d32, residuals[i]), hn::BitCast(d32, bits));
  }
  for (size_t i = 4; i-- > 0;) {
    const VI32 at = hn::Or(hn::BitCast(di32, hn::ShiftLeft<5>(scales[i])), codes[i]);
    const V32 range = hn::GatherIndex(d32, ranges, at);
    sink.encode(i, hn::ShiftRight<16>(range), hn::And(range, hn::Set(d32, 0xffff)));
  }
}

inline void encode_residuals(LaneSink& lanes,
                             const ResidualShape& shape,
                             size_t n_tokens,
                             const uint16_t* restored,
                             const uint16_t* source) {
  Sink sink(lanes);
  const uint32_t* ranges = residual_ranges();
  const int first_wide = first_wide_residual();
  size_t at = shape.model.channels.size() * n_tokens;
  for (size_t c = shape.model.channels.size(); c-- > 0;) {
    const ResidualChannel channel = residual_channel(shape, shape.model.channels[c]);
    for (size_t token = n_tokens; token > 0; token -= kLanes) {
      at -= kLanes;
      encode_residual_step(
          sink, ranges, first_wide, channel, shape.correction, restored + at, source + at);
    }
  }
  sink.save(lanes);
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
