// Both sets of kernels on the same input, whatever it is: they give the same bits.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "codec/kernels.h"
#include "codec/lanes.h"
#include "src/base/prng.h"

namespace sluice::codec {

class KernelsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (vector_kernels() == nullptr) {
      GTEST_SKIP() << "the CPU has no AVX2: there is one set of kernels";
    }
  }

  uint32_t below(uint64_t bound) { return static_cast<uint32_t>(prng_.below(bound)); }

  int between(int64_t least, int64_t most) {
    return static_cast<int>(least + below(static_cast<uint64_t>(most - least + 1)));
  }

  int16_t any_int16() {
    // The ends of the range, small numbers, and what is between.
    constexpr std::array<int, 8> kEnds = {
        -32768, -32767, -10923, -10922, 10922, 10923, 32766, 32767};
    switch (below(4)) {
      case 0:
        return static_cast<int16_t>(kEnds[below(kEnds.size())]);
      case 1:
        return static_cast<int16_t>(between(-4, 4));
      default:
        return static_cast<int16_t>(prng_.next());
    }
  }

  std::vector<int16_t> any_int16s(size_t count) {
    std::vector<int16_t> out(count);
    std::generate(out.begin(), out.end(), [&] { return any_int16(); });
    return out;
  }

  Prng prng_{1};
  const Kernels& oracle_ = scalar_kernels();
  const Kernels* vector_ = vector_kernels();
};

// What lanes decode: states and words, with bytes behind them that a step may read ahead.
struct LaneBytes {
  static constexpr size_t kReadAhead = 3 * sizeof(uint16_t) * kLanes + 32;

  Bytes bytes;  // states, words, read ahead
  size_t words = 0;

  LaneBytes(Bytes section, size_t its_words) : bytes(std::move(section)), words(its_words) {
    bytes.resize(kStatesBytes + 2 * words + kReadAhead);
  }

  // Bytes of no encoder. Half of the slots are at the ends of the tables, where rare symbols are.
  static LaneBytes noise(Prng& prng, size_t words) {
    Bytes section(kStatesBytes + 2 * words);
    for (size_t at = 0; at < section.size(); at += 2) {
      auto word = static_cast<uint16_t>(prng.next());
      const auto end = prng.below(4);
      word = end == 0 ? word & 0xf00f : end == 1 ? word | 0x0ff0 : word;
      store_le(section.data() + at, word);
    }
    for (size_t lane = 0; lane < kLanes; ++lane) {
      // States are 2^16 at least. Half of them draw soon.
      section[4 * lane + 2] |= 1;
      section[4 * lane + 3] &= static_cast<uint8_t>(prng.below(2) * 255);
    }
    return {std::move(section), words};
  }

  LaneCursor cursor(size_t its_words) const {
    LaneCursor cursor{};
    for (size_t lane = 0; lane < kLanes; ++lane) {
      cursor.states[lane] = load_le<uint32_t>(bytes.data() + 4 * lane);
    }
    cursor.word = bytes.data() + kStatesBytes;
    cursor.words_end = cursor.word + 2 * its_words;
    return cursor;
  }
};

// Decodes with both kernels as far as some words reach; returns the verdict, which they share, as
// they do values, states and words where it is good. `decode`: bool(kernels, cursor, values).
template <class T, class Decode>
bool same_from_lanes(const LaneBytes& lanes,
                     size_t words,
                     const std::vector<T>& before,
                     Decode decode) {
  std::vector<T> from_oracle = before, from_vector = before;
  LaneCursor oracle = lanes.cursor(words), vector = lanes.cursor(words);
  const bool good = decode(scalar_kernels(), oracle, from_oracle.data());
  EXPECT_EQ(decode(*vector_kernels(), vector, from_vector.data()), good);
  if (good) {
    EXPECT_EQ(from_vector, from_oracle);
    EXPECT_EQ(vector.states, oracle.states);
    EXPECT_EQ(vector.word - lanes.bytes.data(), oracle.word - lanes.bytes.data());
  }
  return good;
}

}  // namespace sluice::codec
