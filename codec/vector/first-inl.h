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

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

// Symbols of one scale in ascending order, the escape last: 8 or 32.
struct FirstTable {
  static constexpr size_t kWindow = 16;

  alignas(32) std::array<uint32_t, 32> ranges{};  // [31:16] frequency, [15:0] below
  std::array<int16_t, 33> below{};
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

// Of a pair of slots: how many of the bounds behind the first symbol's are not above them.
template <size_t kSymbols>
HWY_INLINE VI16 index_of(VI16 slots, const int16_t* below) {
  VI16 index = hn::Zero(di16);
  for (size_t i = 1; i < kSymbols; ++i) {
    const auto above = hn::Gt(slots, hn::Set(di16, static_cast<int16_t>(below[i] - 1)));
    index = hn::Sub(index, hn::VecFromMask(di16, above));
  }
  return index;
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

struct PairOfSymbols {
  std::array<VI16, 2> index;  // in pair order
};

// Decodes one of kSymbols from the first on, in every lane.
template <size_t kSymbols>
HWY_INLINE PairOfSymbols decode_among(Lanes& lanes, const FirstTable& table, size_t first) {
  PairOfSymbols symbols;
  for (size_t half = 0; half < 2; ++half) {
    const VI16 slots = hn::BitCast(di16, to_pair(lanes.slots(2 * half), lanes.slots(2 * half + 1)));
    symbols.index[half] = index_of<kSymbols>(slots, table.below.data() + first);
  }
  for (size_t half = 0; half < 2; ++half) {
    const V16 index = hn::BitCast(d16, symbols.index[half]);
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
  const VI16 high =
      hn::Set(di16, static_cast<int16_t>(table.below[table.window + FirstTable::kWindow] - 1));
  auto outside = hn::MaskFromVec(hn::Zero(di16));
  for (size_t half = 0; half < 2; ++half) {
    const VI16 slots = hn::BitCast(di16, to_pair(lanes.slots(2 * half), lanes.slots(2 * half + 1)));
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
  PairOfSymbols symbols;
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
    escaped = hn::Or(escaped, hn::Eq(symbols.index[half], last));
    hn::StoreU(swapped(hn::Add(symbols.index[half], lowest)), di16, values + 16 * half);
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

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
