// Symbols whose table is large or differs from lane to lane: one gather gets all that a slot says.
// Included once for each target by vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_GATHERED) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_GATHERED
#undef SLUICE_CODEC_VECTOR_GATHERED
#else
#define SLUICE_CODEC_VECTOR_GATHERED
#endif

#include <vector>

#include "codec/vector/lanes-inl.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

// By table and slot: [31:20] frequency, [19:8] slot less the symbol's lower bound, [7:0] code.
template <class Tables>
std::vector<uint32_t> slot_entries(const Tables& tables) {
  std::vector<uint32_t> entries;
  entries.reserve(tables.size() * kFrequencyTotal);
  for (const DecodeTable& table : tables) {
    for (uint32_t slot = 0; slot < kFrequencyTotal; ++slot) {
      const uint8_t code = table.codes[slot];
      const uint32_t range = table.ranges[code];
      entries.push_back((range >> 16) << 20 | (slot - (range & 0xffff)) << 8 | code);
    }
  }
  return entries;
}

// Decodes a symbol in eight lanes; returns their codes.
HWY_INLINE VI32 decode_gathered(Lanes& lanes, size_t i, const uint32_t* entries, V32 table) {
  const V32 at = hn::Or(hn::ShiftLeft<kProbabilityBits>(table), lanes.slots(i));
  const V32 entry = hn::GatherIndex(d32, entries, hn::BitCast(di32, at));
  lanes.advance(i,
                hn::ShiftRight<20>(entry),
                hn::And(hn::ShiftRight<8>(entry), hn::Set(d32, kFrequencyTotal - 1)));
  return hn::BitCast(di32, hn::And(entry, hn::Set(d32, 0xff)));
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
