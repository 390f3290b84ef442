// The 32 lanes as four vectors of eight: what a step does with all of them at once (FORMAT.md,
// "Lanes"). Included once for each target by vector_kernels.cc.
//
// Highway where it has the operation; AVX2's own where it has not (1.0.3): a mask as a number, a
// permutation whose indices may be anything, and narrowing that does not saturate.
#if defined(SLUICE_CODEC_VECTOR_LANES) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_LANES
#undef SLUICE_CODEC_VECTOR_LANES
#else
#define SLUICE_CODEC_VECTOR_LANES
#endif

#include <hwy/highway.h>

#include <array>
#include <bit>

#include "codec/lanes.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Where a section's words go: order[mask] has, for each lane of the mask, how many are before it.
struct DrawOrders {
  std::array<std::array<uint8_t, 8>, 256> order{};

  constexpr DrawOrders() {
    for (size_t mask = 0; mask < 256; ++mask) {
      uint8_t drawn = 0;
      for (size_t lane = 0; lane < 8; ++lane) {
        order[mask][lane] = drawn;
        drawn = static_cast<uint8_t>(drawn + (mask >> lane & 1));
      }
    }
  }
};

inline constexpr DrawOrders kDrawOrders;

using D32 = hn::FixedTag<uint32_t, 8>;
using DI32 = hn::FixedTag<int32_t, 8>;
using D16 = hn::FixedTag<uint16_t, 16>;
using DI16 = hn::FixedTag<int16_t, 16>;
using V32 = hn::Vec<D32>;
using VI32 = hn::Vec<DI32>;
using V16 = hn::Vec<D16>;
using VI16 = hn::Vec<DI16>;

inline constexpr D32 d32;
inline constexpr DI32 di32;
inline constexpr D16 d16;
inline constexpr DI16 di16;

template <class V>
HWY_INLINE auto at_least(V a, V b) {
  return hn::Not(hn::Lt(a, b));
}

HWY_INLINE uint32_t bits_of(hn::Mask<D32> mask) {
  return static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_castsi256_ps(hn::VecFromMask(d32, mask).raw)));
}

// Lanes of `table` by the low 3 bits of each index.
HWY_INLINE V32 looked_up(V32 table, V32 index) {
  return V32{_mm256_permutevar8x32_epi32(table.raw, index.raw)};
}

// Two vectors of 32 bits and one of 16 in "pair order": blocks of both in turn, so that either way
// takes one instruction. In memory order they are a permutation apart, which is its own inverse.
HWY_INLINE V16 to_pair(V32 first, V32 second) {
  return V16{_mm256_packus_epi32(first.raw, second.raw)};
}

template <class V>
HWY_INLINE V swapped(V pair) {
  return V{_mm256_permute4x64_epi64(pair.raw, 0xd8)};
}

// Values below 2^16 to memory order.
HWY_INLINE V16 narrowed(V32 first, V32 second) {
  return swapped(to_pair(first, second));
}

struct Lanes {
  std::array<V32, 4> states;
  const uint8_t* word;

  explicit HWY_INLINE Lanes(const LaneCursor& cursor) : word(cursor.word) {
    for (size_t i = 0; i < 4; ++i) {
      states[i] = hn::Load(d32, cursor.states.data() + 8 * i);
    }
  }

  HWY_INLINE void save(LaneCursor& cursor) const {
    for (size_t i = 0; i < 4; ++i) {
      hn::Store(states[i], d32, cursor.states.data() + 8 * i);
    }
    cursor.word = word;
  }

  HWY_INLINE V32 slots(size_t i) const {
    return hn::And(states[i], hn::Set(d32, kFrequencyTotal - 1));
  }

  // State of each lane after a symbol; draws words in ascending order, so call with i ascending.
  // `place`: slot less the symbol's lower bound.
  HWY_INLINE void advance(size_t i, V32 frequency, V32 place) {
    states[i] = hn::Add(hn::Mul(frequency, hn::ShiftRight<kProbabilityBits>(states[i])), place);
    draw(i);
  }

  // Takes `bits` bits of each lane, 0 to 16 of them.
  HWY_INLINE V32 take(size_t i, V32 bits) {
    const V32 one = hn::Set(d32, 1);
    const V32 value = hn::And(states[i], hn::Sub(hn::Shl(one, bits), one));
    states[i] = hn::Shr(states[i], bits);
    draw(i);
    return value;
  }

 private:
  HWY_INLINE void draw(size_t i) {
    const auto low = hn::Eq(hn::ShiftRight<16>(states[i]), hn::Zero(d32));
    const uint32_t mask = bits_of(low);
    const hn::FixedTag<uint16_t, 8> d_words;
    const hn::FixedTag<uint8_t, 8> d_order;
    const V32 words =
        hn::PromoteTo(d32, hn::LoadU(d_words, reinterpret_cast<const uint16_t*>(word)));
    const V32 order = hn::PromoteTo(d32, hn::Load(d_order, kDrawOrders.order[mask].data()));
    const V32 drawn = hn::Or(hn::ShiftLeft<16>(states[i]), looked_up(words, order));
    states[i] = hn::IfThenElse(low, drawn, states[i]);
    word += sizeof(uint16_t) * static_cast<size_t>(std::popcount(mask));
  }
};

// How far a loop may read ahead of the words is lanes.cc's matter, so each step asks.
HWY_INLINE bool ran_out(const Lanes& lanes, const LaneCursor& cursor) {
  return lanes.word > cursor.words_end;
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
