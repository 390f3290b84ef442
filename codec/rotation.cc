#include "codec/rotation.h"

#include <cstddef>

#include "codec/progressive_rom.h"

namespace sluice::codec {
namespace {

constexpr int kOneBits = 30;
constexpr int64_t kHalf = int64_t{1} << (kOneBits - 1);

// sin of a quarter turn times f, 0 <= f <= 2^30 in 1/2^30.
int32_t quarter_sine(int64_t f) {
  int64_t square = f * f >> kOneBits;
  int64_t sum = kSine[4];
  for (size_t i = 4; i-- > 0;) {
    sum = kSine[i] + (sum * square >> kOneBits);
  }
  return static_cast<int32_t>(sum * f >> kOneBits);
}

int32_t rounded(int64_t product) {
  return static_cast<int32_t>((product + kHalf) >> kOneBits);
}

// One loop for both directions, which differ in the sign of the sines.
template <int64_t kSign>
void turn_pairs(std::span<const int32_t> cosines,
                std::span<const int32_t> sines,
                std::span<int32_t> first,
                std::span<int32_t> second) {
  size_t count = first.size();
  const int32_t* c = cosines.data();
  const int32_t* s = sines.data();
  int32_t* a = first.data();
  int32_t* b = second.data();
  for (size_t i = 0; i < count; ++i) {
    int64_t x = a[i], y = b[i], cosine = c[i], sine = kSign * s[i];
    a[i] = rounded(x * cosine - y * sine);
    b[i] = rounded(y * cosine + x * sine);
  }
}

}  // namespace

Turn turn_of(uint64_t phase) {
  auto fraction = static_cast<int64_t>(phase >> 32 & ((1u << kOneBits) - 1));
  int32_t sine = quarter_sine(fraction);
  int32_t cosine = quarter_sine((int64_t{1} << kOneBits) - fraction);
  switch (phase >> 62) {
    case 0:
      return {cosine, sine};
    case 1:
      return {-sine, cosine};
    case 2:
      return {-cosine, -sine};
    default:
      return {sine, -cosine};
  }
}

void fill_turns(uint64_t frequency,
                uint64_t first_position,
                std::span<int32_t> cosines,
                std::span<int32_t> sines) {
  uint64_t phase = first_position * frequency;
  for (size_t i = 0; i < cosines.size(); ++i, phase += frequency) {
    Turn turn = turn_of(phase);
    cosines[i] = turn.cosine;
    sines[i] = turn.sine;
  }
}

void rotate(std::span<const int32_t> cosines,
            std::span<const int32_t> sines,
            std::span<int32_t> first,
            std::span<int32_t> second) {
  turn_pairs<1>(cosines, sines, first, second);
}

void unrotate(std::span<const int32_t> cosines,
              std::span<const int32_t> sines,
              std::span<int32_t> first,
              std::span<int32_t> second) {
  turn_pairs<-1>(cosines, sines, first, second);
}

}  // namespace sluice::codec
