// The lanes of an encoder as four vectors of eight (FORMAT.md, "Lanes"): what lanes-inl.h does,
// backwards. Included once for each target by vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_SINK) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_SINK
#undef SLUICE_CODEC_VECTOR_SINK
#else
#define SLUICE_CODEC_VECTOR_SINK
#endif

#include "codec/vector/lanes-inl.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

// By mask: the bytes of its lanes' words, moved up to the end of eight.
struct PutOrders {
  alignas(16) std::array<std::array<uint8_t, 16>, 256> order{};

  constexpr PutOrders() {
    for (uint32_t mask = 0; mask < 256; ++mask) {
      size_t to = 8;
      for (uint8_t lane = 8; lane-- > 0;) {
        if ((mask >> lane & 1) != 0) {
          --to;
          order[mask][2 * to] = static_cast<uint8_t>(2 * lane);
          order[mask][2 * to + 1] = static_cast<uint8_t>(2 * lane + 1);
        }
      }
    }
  }
};

inline constexpr PutOrders kPutOrders;

struct Sink {
  std::array<V32, 4> states;
  uint16_t* words;

  explicit HWY_INLINE Sink(const LaneSink& sink) : words(sink.words) {
    for (size_t i = 0; i < 4; ++i) {
      states[i] = hn::Load(d32, sink.states.data() + 8 * i);
    }
  }

  HWY_INLINE void save(LaneSink& sink) const {
    for (size_t i = 0; i < 4; ++i) {
      hn::Store(states[i], d32, sink.states.data() + 8 * i);
    }
    sink.words = words;
  }

  // A symbol of each lane; call with i descending.
  HWY_INLINE void encode(size_t i, V32 frequency, V32 below) {
    const hn::FixedTag<float, 8> df;
    const VI32 divisor = hn::BitCast(di32, frequency);
    const VI32 high = hn::BitCast(di32, hn::ShiftRight<32 - kProbabilityBits>(states[i]));
    put(i, hn::RebindMask(d32, at_least(high, divisor)));
    // The quotient has 20 bits and a float 24, so it is off by one at most: halves, because a state
    // may have 32.
    const auto half_state = hn::ConvertTo(df, hn::BitCast(di32, hn::ShiftRight<1>(states[i])));
    const auto half_divisor = hn::Mul(hn::ConvertTo(df, divisor), hn::Set(df, 0.5f));
    VI32 quotient = hn::ConvertTo(di32, hn::Div(half_state, half_divisor));
    VI32 rest = hn::Sub(hn::BitCast(di32, states[i]), hn::Mul(quotient, divisor));
    const VI32 is_less = hn::ShiftRight<31>(rest);
    quotient = hn::Add(quotient, is_less);
    rest = hn::Add(rest, hn::And(divisor, is_less));
    const VI32 is_more = hn::VecFromMask(di32, at_least(rest, divisor));
    quotient = hn::Sub(quotient, is_more);
    rest = hn::Sub(rest, hn::And(divisor, is_more));
    states[i] = hn::Add(hn::ShiftLeft<kProbabilityBits>(hn::BitCast(d32, quotient)),
                        hn::Add(hn::BitCast(d32, rest), below));
  }

  // The lower `bits` bits of each lane's value, 0 to 16 of them; call with i descending.
  HWY_INLINE void give(size_t i, V32 value, V32 bits) {
    const V32 one = hn::Set(d32, 1);
    const V32 over = hn::Shr(states[i], hn::Sub(hn::Set(d32, 32), bits));
    put(i, hn::Ne(over, hn::Zero(d32)));
    const V32 low = hn::And(value, hn::Sub(hn::Shl(one, bits), one));
    states[i] = hn::Or(hn::Shl(states[i], bits), low);
  }

 private:
  HWY_INLINE void put(size_t i, hn::Mask<D32> moves) {
    const hn::FixedTag<uint8_t, 16> d8;
    const hn::FixedTag<uint16_t, 8> d_words;
    const uint32_t mask = bits_of(moves);
    const V32 low = hn::And(states[i], hn::Set(d32, 0xffff));
    const auto all = hn::BitCast(d8, hn::LowerHalf(d_words, narrowed(low, low)));
    const auto moved = hn::TableLookupBytes(all, hn::Load(d8, kPutOrders.order[mask].data()));
    hn::StoreU(hn::BitCast(d_words, moved), d_words, words - 8);
    words -= std::popcount(mask);
    states[i] = hn::IfThenElse(moves, hn::ShiftRight<16>(states[i]), states[i]);
  }
};

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
