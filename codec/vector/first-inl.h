// First rows: all 32 lanes of a step share a table, so a symbol is found by comparing slots with
// its bounds, in 16 bits, without a gather. Included once for each target by vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_FIRST) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_FIRST
#undef SLUICE_CODEC_VECTOR_FIRST
#else
#define SLUICE_CODEC_VECTOR_FIRST
#endif

#include <algorithm>

#include "codec/progressive_tables.h"
#include "codec/vector/lanes-inl.h"
#include "codec/vector/sink-inl.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

// Symbols of one scale in ascending order, the escape last: 8 or 32.
struct FirstTable {
  static constexpr size_t kWindow = 16;

  alignas(32) std::array<uint32_t, 32> ranges{};  // [31:16] frequency, [15:0] below
  std::array<int16_t, 33> below{};
  std::array<int16_t, 32> last{};  // slot of each symbol
  size_t symbols = 0;
  int lowest = 0;           // value of the first symbol
  size_t window = 0;        // first of 16 symbols that nearly all slots have
  bool has_window = false;  // so that comparing with 15 bounds pays
  uint32_t low_bits = 0;

  explicit FirstTable(const ScaleModel& model) : low_bits(model.low_bits) {
    uint32_t sum = 0;
    for (size_t code = 0; code < model.frequencies.size(); ++code) {
      const uint32_t frequency = model.frequencies[code];
      if (frequency != 0) {
        lowest = symbols == 0 ? static_cast<int>(code) - kSymbolZero : lowest;
        ranges[symbols] = frequency << 16 | sum;
        below[symbols++] = static_cast<int16_t>(sum);
        sum += frequency;
      }
    }
    below[symbols] = static_cast<int16_t>(sum);
    for (size_t i = 0; i < symbols; ++i) {
      last[i] = static_cast<int16_t>(below[i + 1] - 1);
    }
    for (size_t first = 0; symbols > kWindow && first + kWindow < symbols; ++first) {
      if (width(first) > width(window)) {
        window = first;
      }
    }
    // Each symbol outside has a slot at least, 16 of them.
    has_window = symbols > kWindow && kFrequencyTotal - width(window) <= 25;
  }

 private:
  uint32_t width(size_t first) const {
    return static_cast<uint32_t>(below[first + kWindow] - below[first]);
  }
};

inline const FirstTable& first_table(size_t scale) {
  static const std::vector<FirstTable> tables(kScaleModels.begin(), kScaleModels.end());
  return tables[scale];
}

using Halves = std::array<VI16, 2>;  // of the lanes, in pair order

HWY_INLINE Halves slots_of(const Lanes& lanes) {
  return {hn::BitCast(di16, to_pair(lanes.slots(0), lanes.slots(1))),
          hn::BitCast(di16, to_pair(lanes.slots(2), lanes.slots(3)))};
}

// How many symbols end before each slot. Unrolled by hand: GCC 12 does not.
template <size_t... kSymbol>
HWY_INLINE Halves index_of(const Halves& slots,
                           const int16_t* last,
                           std::index_sequence<kSymbol...>) {
  VI16 first = hn::Zero(di16), second = hn::Zero(di16);
  const auto count = [&](VI16 end) HWY_ATTR {
    first = hn::Sub(first, hn::VecFromMask(di16, hn::Gt(slots[0], end)));
    second = hn::Sub(second, hn::VecFromMask(di16, hn::Gt(slots[1], end)));
  };
  (count(hn::Set(di16, last[kSymbol])), ...);
  return {first, second};
}

template <size_t kSymbols>
HWY_INLINE V32 range_of(V32 index, const uint32_t* ranges) {
  V32 range = looked_up(hn::LoadU(d32, ranges), index);
  for (size_t first = 8; first < kSymbols; first += 8) {
    const auto here = hn::Gt(hn::BitCast(di32, index), hn::Set(di32, static_cast<int>(first) - 1));
    const V32 other = looked_up(hn::LoadU(d32, ranges + first), index);
    range = hn::IfThenElse(hn::RebindMask(d32, here), other, range);
  }
  return range;
}

// Decodes one of kSymbols from the first on, in every lane; returns which.
template <size_t kSymbols>
HWY_INLINE Halves decode_among(Lanes& lanes, const FirstTable& table, size_t first) {
  const Halves symbols = index_of(
      slots_of(lanes), table.last.data() + first, std::make_index_sequence<kSymbols - 1>());
  for (size_t half = 0; half < 2; ++half) {
    const V16 index = hn::BitCast(d16, symbols[half]);
    for (size_t side = 0; side < 2; ++side) {
      const size_t i = 2 * half + side;
      const V32 wide = side == 0 ? hn::ZipLower(d32, index, hn::Zero(d16))
                                 : hn::ZipUpper(d32, index, hn::Zero(d16));
      const V32 range = range_of<kSymbols>(wide, table.ranges.data() + first);
      lanes.advance(i,
                    hn::ShiftRight<16>(range),
                    hn::Sub(lanes.slots(i), hn::And(range, hn::Set(d32, 0xffff))));
    }
  }
  return symbols;
}

// False: a slot has no symbol of the window.
HWY_INLINE bool in_window(const Lanes& lanes, const FirstTable& table) {
  const VI16 low = hn::Set(di16, table.below[table.window]);
  const VI16 high = hn::Set(di16, table.last[table.window + FirstTable::kWindow - 1]);
  auto outside = hn::MaskFromVec(hn::Zero(di16));
  for (const VI16 slots : slots_of(lanes)) {
    outside = hn::Or(outside, hn::Or(hn::Lt(slots, low), hn::Gt(slots, high)));
  }
  return hn::AllFalse(di16, outside);
}

// Draws low bits, and escaped values as they are. False: one is no value.
HWY_NOINLINE bool take_extra_bits(Lanes& lanes, const FirstTable& table, int16_t* values) {
  const VI32 escape = hn::Set(di32, table.lowest + static_cast<int>(table.symbols) - 1);
  auto bad = hn::MaskFromVec(hn::Zero(di32));
  std::array<VI32, 4> out;
  for (size_t i = 0; i < 4; ++i) {
    const hn::FixedTag<int16_t, 8> d_half;
    const VI32 symbol = hn::PromoteTo(di32, hn::LoadU(d_half, values + 8 * i));
    const auto escaped = hn::Eq(symbol, escape);
    const VI32 low_bits = hn::Set(di32, static_cast<int>(table.low_bits));
    const VI32 bits = hn::IfThenElse(escaped, hn::Set(di32, kEscapeBits), low_bits);
    const VI32 taken = hn::BitCast(di32, lanes.take(i, hn::BitCast(d32, bits)));
    constexpr int kSpare = 32 - static_cast<int>(kEscapeBits);
    const VI32 whole = hn::ShiftRight<kSpare>(hn::ShiftLeft<kSpare>(taken));
    bad = hn::Or(bad, hn::And(escaped, hn::Eq(whole, hn::Set(di32, -kQuantisedMax - 1))));
    const VI32 split = hn::Add(hn::ShiftLeftSame(symbol, static_cast<int>(table.low_bits)), taken);
    out[i] = hn::IfThenElse(escaped, whole, split);
  }
  for (size_t half = 0; half < 2; ++half) {
    hn::StoreU(swapped(hn::ReorderDemote2To(di16, out[2 * half], out[2 * half + 1])),
               di16,
               values + 16 * half);
  }
  return hn::AllFalse(di32, bad);
}

HWY_INLINE bool decode_first_step(Lanes& lanes, const FirstTable& table, int16_t* values) {
  Halves symbols;
  size_t first = 0;
  if (table.symbols == 8) {
    symbols = decode_among<8>(lanes, table, 0);
  } else if (table.has_window && in_window(lanes, table)) {
    first = table.window;
    symbols = decode_among<FirstTable::kWindow>(lanes, table, first);
  } else {
    symbols = decode_among<32>(lanes, table, 0);
  }
  const VI16 last = hn::Set(di16, static_cast<int16_t>(table.symbols - 1 - first));
  const VI16 lowest = hn::Set(di16, static_cast<int16_t>(table.lowest + static_cast<int>(first)));
  auto escaped = hn::MaskFromVec(hn::Zero(di16));
  for (size_t half = 0; half < 2; ++half) {
    escaped = hn::Or(escaped, hn::Eq(symbols[half], last));
    hn::StoreU(swapped(hn::Add(symbols[half], lowest)), di16, values + 16 * half);
  }
  if (table.low_bits == 0 && hn::AllFalse(di16, escaped)) {
    return true;
  }
  return take_extra_bits(lanes, table, values);
}

inline bool decode_first(LaneCursor& cursor,
                         std::span<const uint8_t> scales,
                         size_t n_tokens,
                         int16_t* values) {
  Lanes lanes(cursor);
  for (uint8_t scale : scales) {
    const FirstTable& table = first_table(scale);
    for (size_t token = 0; token < n_tokens; token += kLanes, values += kLanes) {
      if (!decode_first_step(lanes, table, values) || ran_out(lanes, cursor)) {
        return false;
      }
    }
  }
  lanes.save(cursor);
  return true;
}

// Gives low bits, and escaped values as they are.
HWY_NOINLINE void give_extra_bits(Sink& sink, const FirstTable& table, const int16_t* values) {
  const hn::FixedTag<int16_t, 8> d_half;
  const VI32 low_bits = hn::Set(di32, static_cast<int>(table.low_bits));
  for (size_t i = 4; i-- > 0;) {
    const VI32 value = hn::PromoteTo(di32, hn::LoadU(d_half, values + 8 * i));
    const VI32 index = hn::Sub(hn::ShiftRightSame(value, static_cast<int>(table.low_bits)),
                               hn::Set(di32, table.lowest));
    const VI32 escape = hn::Set(di32, static_cast<int>(table.symbols) - 1);
    const auto known = hn::And(at_least(index, hn::Zero(di32)), hn::Lt(index, escape));
    const VI32 bits = hn::IfThenElse(known, low_bits, hn::Set(di32, kEscapeBits));
    sink.give(i, hn::BitCast(d32, value), hn::BitCast(d32, bits));
  }
}

template <size_t kSymbols>
HWY_INLINE void encode_first_step(Sink& sink, const FirstTable& table, const int16_t* values) {
  const VI16 escape = hn::Set(di16, static_cast<int16_t>(kSymbols - 1));
  Halves indices;
  auto escaped = hn::MaskFromVec(hn::Zero(di16));
  for (size_t half = 0; half < 2; ++half) {
    const VI16 value = swapped(hn::LoadU(di16, values + 16 * half));
    const VI16 index = hn::Sub(hn::ShiftRightSame(value, static_cast<int>(table.low_bits)),
                               hn::Set(di16, static_cast<int16_t>(table.lowest)));
    const auto unknown = hn::Or(hn::Lt(index, hn::Zero(di16)), at_least(index, escape));
    indices[half] = hn::IfThenElse(unknown, escape, index);
    escaped = hn::Or(escaped, unknown);
  }
  if (table.low_bits != 0 || !hn::AllFalse(di16, escaped)) {
    give_extra_bits(sink, table, values);
  }
  for (size_t i = 4; i-- > 0;) {
    const V16 index = hn::BitCast(d16, indices[i / 2]), zero = hn::Zero(d16);
    const V32 wide = i % 2 == 0 ? hn::ZipLower(d32, index, zero) : hn::ZipUpper(d32, index, zero);
    const V32 range = range_of<kSymbols>(wide, table.ranges.data());
    sink.encode(i, hn::ShiftRight<16>(range), hn::And(range, hn::Set(d32, 0xffff)));
  }
}

inline void encode_first(LaneSink& lanes,
                         std::span<const uint8_t> scales,
                         size_t n_tokens,
                         const int16_t* values) {
  Sink sink(lanes);
  const int16_t* step = values + scales.size() * n_tokens;
  for (size_t c = scales.size(); c-- > 0;) {
    const FirstTable& table = first_table(scales[c]);
    for (size_t token = n_tokens; token > 0; token -= kLanes) {
      step -= kLanes;
      if (table.symbols == 8) {
        encode_first_step<8>(sink, table, step);
      } else {
        encode_first_step<32>(sink, table, step);
      }
    }
  }
  sink.save(lanes);
}

// Costs of a value under eight neighbouring scales stand side by side.
inline void add_first_costs(std::span<const uint8_t> scales,
                            size_t n_tokens,
                            const int16_t* values,
                            CorrectionCosts& costs) {
  const hn::FixedTag<uint16_t, 8> d_row;
  const auto& table = value_costs();
  const uint16_t* rows = table.front().data();
  constexpr auto kRow = static_cast<int16_t>(sizeof(table.front()) / sizeof(uint16_t));
  alignas(32) std::array<int16_t, kLanes> starts;
  for (uint8_t scale : scales) {
    V32 even = hn::Zero(d32), odd = hn::Zero(d32);
    for (size_t token = 0; token < n_tokens; token += kLanes, values += kLanes) {
      for (size_t half = 0; half < 2; ++half) {
        const VI16 value = hn::Clamp(hn::LoadU(di16, values + 16 * half),
                                     hn::Set(di16, -kCountedMax),
                                     hn::Set(di16, kCountedMax));
        const VI16 row = hn::Add(value, hn::Set(di16, kCountedMax));
        hn::Store(hn::Mul(row, hn::Set(di16, kRow)), di16, starts.data() + 16 * half);
      }
      for (size_t lane = 0; lane < kLanes; lane += 2) {
        const auto row = [&](size_t i) HWY_ATTR {
          return hn::PromoteTo(d32, hn::LoadU(d_row, rows + starts[i] + scale));
        };
        even = hn::Add(even, row(lane));
        odd = hn::Add(odd, row(lane + 1));
      }
    }
    alignas(32) std::array<uint32_t, 8> sums;
    hn::Store(hn::Add(even, odd), d32, sums.data());
    for (size_t i = 0; i < costs.size(); ++i) {
      costs[i] += sums[i];
    }
  }
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
