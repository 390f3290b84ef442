// Sections of `direct` (FORMAT.md, "Direct"). Included once for each target by vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_CELLS) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_CELLS
#undef SLUICE_CODEC_VECTOR_CELLS
#else
#define SLUICE_CODEC_VECTOR_CELLS
#endif

#include <algorithm>
#include <vector>

#include "codec/direct_tables.h"
#include "codec/kernels.h"
#include "codec/vector/gathered-inl.h"
#include "codec/vector/sink-inl.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

HWY_INLINE void decode_cells_step(Lanes& lanes,
                                  const uint32_t* entries,
                                  const DirectModel& model,
                                  uint32_t low_bits,
                                  uint16_t* values) {
  const int low = static_cast<int>(low_bits);
  const V32 table = hn::Zero(d32);
  std::array<VI32, 4> codes;
  auto escaped = hn::MaskFromVec(hn::Zero(di32));
  for (size_t i = 0; i < 4; ++i) {
    codes[i] = decode_gathered(lanes, i, entries + model.table * kFrequencyTotal, table);
    escaped = hn::Or(escaped, hn::Eq(codes[i], hn::Set(di32, kEscapeCode)));
  }
  std::array<V32, 4> elements;
  for (size_t i = 0; i < 4; ++i) {
    const VI32 cell =
        hn::Add(hn::And(codes[i], hn::Set(di32, kCellMask)), hn::Set(di32, model.first_cell));
    const VI32 magnitude = hn::And(hn::ShiftLeftSame(cell, low), hn::Set(di32, 0x7fff));
    const VI32 sign = hn::Xor(hn::And(hn::ShiftLeft<10>(codes[i]), hn::Set(di32, 0x8000)),
                              hn::Set(di32, static_cast<int>(model.flip << 15)));
    elements[i] = hn::BitCast(d32, hn::Or(sign, magnitude));
  }
  if (HWY_UNLIKELY(!hn::AllFalse(di32, escaped))) {
    for (size_t i = 0; i < 4; ++i) {
      const auto here = hn::RebindMask(d32, hn::Eq(codes[i], hn::Set(di32, kEscapeCode)));
      const V32 taken = lanes.take(i, hn::IfThenElseZero(here, hn::Set(d32, 16 - low_bits)));
      elements[i] = hn::IfThenElse(here, hn::ShiftLeftSame(taken, low), elements[i]);
    }
  }
  for (size_t half = 0; half < 2; ++half) {
    hn::StoreU(narrowed(elements[2 * half], elements[2 * half + 1]), d16, values + 16 * half);
  }
}

inline bool decode_cells(LaneCursor& cursor,
                         const DirectShape& shape,
                         const DirectTags& tags,
                         uint16_t* values) {
  static const std::vector<uint32_t> entries = slot_entries(direct_tables());
  Lanes lanes(cursor);
  for (size_t channel = 0; channel < tags.tags.size(); ++channel, values += shape.n_tokens) {
    if (!tags.is_coded(channel)) {
      continue;
    }
    const DirectModel model = direct_model(shape, tags, channel);
    for (size_t token = 0; token < shape.n_tokens; token += kLanes) {
      decode_cells_step(lanes, entries.data(), model, shape.low_bits(), values + token);
      if (ran_out(lanes, cursor)) {
        return false;
      }
    }
  }
  lanes.save(cursor);
  return true;
}

// By table, 64 apart, and symbol: [31:16] frequency, [15:0] below.
inline const uint32_t* cell_ranges() {
  static const std::vector<uint32_t> ranges = [] {
    std::vector<uint32_t> built(64 * kDirectTables);
    for (size_t table = 0; table < kDirectTables; ++table) {
      for (size_t symbol = 0; symbol < kDirectSymbols; ++symbol) {
        const SymbolRange& range = direct_ranges()[table][symbol];
        built[64 * table + symbol] = range.frequency << 16 | range.below;
      }
    }
    return built;
  }();
  return ranges.data();
}

HWY_INLINE void encode_cells_step(Sink& sink,
                                  const uint32_t* ranges,
                                  const DirectModel& model,
                                  uint32_t low_bits,
                                  const uint16_t* values) {
  const hn::FixedTag<uint16_t, 8> d_half;
  const VI32 escape = hn::Set(di32, kDirectEscape), cells = hn::Set(di32, kDirectCells);
  std::array<V32, 4> elements;
  std::array<VI32, 4> symbols;
  auto escaped = hn::MaskFromVec(hn::Zero(di32));
  for (size_t i = 0; i < 4; ++i) {
    elements[i] = hn::PromoteTo(d32, hn::LoadU(d_half, values + 8 * i));
    const VI32 magnitude = hn::BitCast(di32, hn::And(elements[i], hn::Set(d32, 0x7fff)));
    const VI32 cell = hn::Sub(hn::ShiftRightSame(magnitude, static_cast<int>(low_bits)),
                              hn::Set(di32, model.first_cell));
    const auto unknown = hn::Or(hn::Lt(cell, hn::Zero(di32)), at_least(cell, cells));
    const VI32 sign = hn::Xor(hn::BitCast(di32, hn::ShiftRight<15>(elements[i])),
                              hn::Set(di32, static_cast<int>(model.flip)));
    const VI32 other = hn::And(cells, hn::Neg(sign));
    symbols[i] = hn::IfThenElse(unknown, escape, hn::Add(cell, other));
    escaped = hn::Or(escaped, unknown);
  }
  if (HWY_UNLIKELY(!hn::AllFalse(di32, escaped))) {
    for (size_t i = 4; i-- > 0;) {
      const auto here = hn::RebindMask(d32, hn::Eq(symbols[i], escape));
      const V32 bits = hn::IfThenElseZero(here, hn::Set(d32, 16 - low_bits));
      sink.give(i, hn::ShiftRightSame(elements[i], static_cast<int>(low_bits)), bits);
    }
  }
  for (size_t i = 4; i-- > 0;) {
    const V32 range = hn::GatherIndex(d32, ranges + 64 * model.table, symbols[i]);
    sink.encode(i, hn::ShiftRight<16>(range), hn::And(range, hn::Set(d32, 0xffff)));
  }
}

inline void encode_cells(LaneSink& lanes,
                         const DirectShape& shape,
                         const DirectTags& tags,
                         const uint16_t* values) {
  Sink sink(lanes);
  const uint32_t* ranges = cell_ranges();
  for (size_t c = tags.tags.size(); c-- > 0;) {
    if (!tags.is_coded(c)) {
      continue;
    }
    const DirectModel model = direct_model(shape, tags, c);
    for (size_t token = shape.n_tokens; token > 0; token -= kLanes) {
      const uint16_t* step = values + c * shape.n_tokens + token - kLanes;
      encode_cells_step(sink, ranges, model, shape.low_bits(), step);
    }
  }
  sink.save(lanes);
}

HWY_INLINE uint32_t sum_clamped(std::span<const uint16_t> channel, int low, int high) {
  const VI16 least = hn::Set(di16, static_cast<int16_t>(std::max(low, 0)));
  const VI16 most = hn::Set(di16, static_cast<int16_t>(std::min(high, 0x7fff)));
  VI32 sums = hn::Zero(di32);
  for (size_t token = 0; token < channel.size(); token += 16) {
    const V16 magnitude = hn::And(hn::LoadU(d16, channel.data() + token), hn::Set(d16, 0x7fff));
    const VI16 clamped = hn::Clamp(hn::BitCast(di16, magnitude), least, most);
    sums = hn::Add(sums, VI32{_mm256_madd_epi16(clamped.raw, hn::Set(di16, 1).raw)});
  }
  return static_cast<uint32_t>(hn::GetLane(hn::SumOfLanes(di32, sums)));
}

inline uint16_t centre_of(std::span<const uint16_t> channel, uint32_t mantissa_bits) {
  const auto count = static_cast<uint32_t>(channel.size());
  const int mean = static_cast<int>(sum_clamped(channel, 0, 0x7fff) / count);
  const int octaves = 3 << mantissa_bits;
  const uint64_t clamped = sum_clamped(channel, mean - octaves, mean + octaves);
  // Two cells an octave: round(2 x clamped / count / 2^mantissa_bits).
  const uint64_t octave = uint64_t{count} << mantissa_bits;
  return static_cast<uint16_t>((4 * clamped + octave) / (2 * octave));
}

// Every value adds three vectors of costs, of 16 bits for 16 values at a time.
inline void weigh_tags(const DirectShape& shape,
                       std::span<const uint16_t> channel,
                       int centre,
                       TagCosts& costs) {
  const ValueCosts& table = value_costs_of_tags(shape.low_bits(), (centre - 1) % 2 != 0);
  const auto* rows = reinterpret_cast<const uint16_t*>(table.data());
  constexpr int16_t kRow = kTagCentres * kTagShapes;
  const VI16 first_cell = hn::Set(di16, static_cast<int16_t>(centre - 1 - kDirectCellsBelow));
  alignas(32) std::array<int16_t, 16> starts;
  for (size_t token = 0; token < channel.size(); token += 16) {
    const V16 value = hn::LoadU(d16, channel.data() + token);
    const V16 magnitude = hn::And(value, hn::Set(d16, 0x7fff));
    const VI16 cell = hn::Sub(
        hn::BitCast(di16, hn::ShiftRightSame(magnitude, static_cast<int>(shape.low_bits()))),
        first_cell);
    const VI16 inside = hn::Clamp(cell, hn::Set(di16, -1), hn::Set(di16, kTagSlots - 2));
    const VI16 slot = hn::Add(inside, hn::Set(di16, 1));
    const VI16 sign = hn::ShiftRight<15>(hn::BitCast(di16, value));
    const VI16 row = hn::Add(slot, hn::And(sign, hn::Set(di16, kTagSlots)));
    hn::Store(hn::Mul(row, hn::Set(di16, kRow)), di16, starts.data());
    V16 low = hn::Zero(d16), middle = low, high = low;
    for (int16_t start : starts) {
      low = hn::Add(low, hn::LoadU(d16, rows + start));
      middle = hn::Add(middle, hn::LoadU(d16, rows + start + kTagShapes));
      high = hn::Add(high, hn::LoadU(d16, rows + start + 2 * kTagShapes));
    }
    const auto add = [&](V16 sums, uint32_t* to) HWY_ATTR {
      const hn::FixedTag<uint16_t, 8> d_half;
      hn::StoreU(
          hn::Add(hn::LoadU(d32, to), hn::PromoteTo(d32, hn::LowerHalf(d_half, sums))), d32, to);
      hn::StoreU(hn::Add(hn::LoadU(d32, to + 8), hn::PromoteTo(d32, hn::UpperHalf(d_half, sums))),
                 d32,
                 to + 8);
    };
    add(low, costs[0].data());
    add(middle, costs[1].data());
    add(high, costs[2].data());
  }
}

inline void pack_low_bits(const uint16_t* values,
                          uint32_t low_bits,
                          size_t n_tokens,
                          uint8_t* out) {
  const uint64_t mask = ((uint64_t{1} << low_bits) - 1) * 0x0001000100010001;
  const auto four = [&](size_t token) HWY_ATTR {
    return _pext_u64(load_le<uint64_t>(reinterpret_cast<const uint8_t*>(values + token)), mask);
  };
  for (size_t token = 0; token < n_tokens; token += 8, out += low_bits) {
    const uint64_t first = four(token), second = four(token + 4);
    store_le(out, first | second << 4 * low_bits);
    if (low_bits > 8) {
      out[8] = static_cast<uint8_t>(second >> (64 - 4 * low_bits));
    }
  }
}

// 8 tokens have low_bits bytes: one 128-bit block. Each takes the 16 bits around its own.
template <uint32_t kLowBits>
HWY_INLINE void add_low_bits_of(const uint8_t* bits, size_t n_tokens, uint16_t* values) {
  const hn::FixedTag<uint8_t, 32> d8;
  const hn::FixedTag<uint8_t, 16> d_block;
  alignas(32) std::array<uint8_t, 32> from;
  alignas(32) std::array<uint16_t, 16> up;
  for (uint32_t token = 0; token < 16; ++token) {
    const uint32_t at = token % 8 * kLowBits;
    from[2 * token] = static_cast<uint8_t>(at / 8);
    from[2 * token + 1] = static_cast<uint8_t>(at / 8 + 1);
    up[token] = static_cast<uint16_t>(1u << (16 - kLowBits - at % 8));
  }
  const auto order = hn::Load(d8, from.data());
  const V16 factor = hn::Load(d16, up.data());
  for (size_t token = 0; token < n_tokens; token += 16, bits += 2 * kLowBits) {
    const auto packed =
        hn::Combine(d8, hn::LoadU(d_block, bits + kLowBits), hn::LoadU(d_block, bits));
    const V16 around = hn::BitCast(d16, hn::TableLookupBytes(packed, order));
    const V16 low = hn::ShiftRight<16 - kLowBits>(hn::Mul(around, factor));
    hn::StoreU(hn::Or(hn::LoadU(d16, values + token), low), d16, values + token);
  }
}

inline void add_low_bits(const uint8_t* bits,
                         uint32_t low_bits,
                         size_t n_tokens,
                         uint16_t* values) {
  if (low_bits == 9) {
    add_low_bits_of<9>(bits, n_tokens, values);
  } else {
    add_low_bits_of<6>(bits, n_tokens, values);
  }
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
