// The kernels between coded values and elements: every number that their types hold gives the same
// bits in both sets.
#include <cfenv>
#include <span>

#include "codec/basis.h"
#include "codec/elements.h"
#include "codec/profile_layout.h"
#include "codec/progressive_rom.h"
#include "codec/rotation.h"
#include "tests/codec/kernels_test.h"

namespace sluice::codec {
namespace {

class ValueKernels : public KernelsTest {
 protected:
  static constexpr size_t kTokens = 96;
  static constexpr std::array kDTypes = {DType::f32, DType::f16, DType::bf16};

  // The ends of each field's range, and what is between.
  ChannelModel any_channel() {
    using namespace profile_layout;
    const auto pick = [&](int least, int most) {
      return below(3) == 0 ? (below(2) == 0 ? least : most) : between(least, most);
    };
    return {.mean = below(2) == 0 ? 0 : pick(-kMeanMax, kMeanMax),
            .mantissa = static_cast<uint16_t>(pick(kMantissaMin, kMantissaMax)),
            .shift = static_cast<uint8_t>(pick(kShiftMin, kShiftMax))};
  }

  // Weights reach both ends of their range, which -32768 is not of.
  int16_t any_factor() { return std::max<int16_t>(any_int16(), -32767); }

  void expect_same_channels(const Basis& basis, size_t channels) {
    std::vector<int16_t> scratch, values = any_int16s(channels * kTokens);
    std::vector<int16_t> twin = values;
    oracle_.to_channels(basis, kTokens, values, scratch);
    vector_->to_channels(basis, kTokens, twin, scratch);
    EXPECT_EQ(twin, values) << channels << " channels, matrices of " << basis.matrix_channels;
  }
};

TEST_F(ValueKernels, LowBitsOfBothFormats) {
  for (uint32_t low_bits : {6u, 9u}) {
    Bytes bits(low_bits * kTokens / 8 + 32);
    std::generate(bits.begin(), bits.end(), [&] { return static_cast<uint8_t>(prng_.next()); });
    std::vector<uint16_t> values(kTokens);
    for (uint16_t& value : values) {
      value = static_cast<uint16_t>(prng_.next() << low_bits);
    }
    std::vector<uint16_t> twin = values;
    oracle_.add_low_bits(bits.data(), low_bits, kTokens, values.data());
    vector_->add_low_bits(bits.data(), low_bits, kTokens, twin.data());
    EXPECT_EQ(twin, values);
  }
}

TEST_F(ValueKernels, EveryValueStandsWhereTheFormatPutsIt) {
  std::vector<int16_t> all(1u << 16), places(all.size()), twin(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<int16_t>(i);
  }
  for (Level level : {Level::q1, Level::q2, Level::q3}) {
    for (uint32_t step_bits = kStepBitsMin; step_bits <= kStepBitsMin + profile_layout::kFinerMax;
         ++step_bits) {
      for (uint8_t scale = 0; scale < kScales; ++scale) {
        const StepPlace place{.level = level, .step_bits = step_bits};
        oracle_.place_in_steps(place, scale, all, places.data());
        vector_->place_in_steps(place, scale, all, twin.data());
        ASSERT_EQ(twin, places) << level_name(level) << " " << step_bits << " " << int{scale};
      }
    }
  }
}

TEST_F(ValueKernels, GivensPairsOfAnyAngleAndLength) {
  for (size_t channels : {2u, 6u, 34u}) {
    Basis basis;
    for (size_t i = 0; i < 100; ++i) {
      const auto first = static_cast<uint16_t>(below(channels));
      const auto second = static_cast<uint16_t>((first + 1 + below(channels - 1)) % channels);
      basis.pairs.push_back({first, second, any_factor(), any_factor()});
    }
    expect_same_channels(basis, channels);
  }
}

TEST_F(ValueKernels, MatricesOfAnySizeAndWeight) {
  for (uint32_t size : {1u, 2u, 3u, 4u, 6u, 8u, 12u, 15u, 16u, 20u, 33u, 64u, 256u}) {
    for (size_t groups : {1u, 3u}) {
      Basis basis{.matrix_channels = size};
      basis.matrices.resize(groups * size * size);
      std::generate(basis.matrices.begin(), basis.matrices.end(), [&] { return any_factor(); });
      expect_same_channels(basis, groups * size);
      // Sums beyond 2^32.
      std::fill(basis.matrices.begin(), basis.matrices.end(), int16_t{-32767});
      expect_same_channels(basis, groups * size);
    }
  }
  expect_same_channels({}, 5);
}

TEST_F(ValueKernels, ChannelsBecomeTheSameElements) {
  size_t saturated = 0, denormal = 0;
  for (int exponent = -64; exponent <= 126; ++exponent) {
    for (int round = 0; round < 30; ++round) {
      const ChannelModel model = any_channel();
      const std::vector<int16_t> coefficients = any_int16s(kTokens);
      for (DType dtype : kDTypes) {
        const ElementFormat format{.dtype = dtype, .exponent = exponent};
        Bytes elements(kTokens * dtype_bytes(dtype)), twin(elements.size());
        oracle_.restore_channel(format, model, coefficients, elements.data());
        vector_->restore_channel(format, model, coefficients, twin.data());
        ASSERT_EQ(twin, elements) << dtype_name(dtype) << " of exponent " << exponent;
        for (size_t i = 0; dtype == DType::f16 && i < elements.size(); i += 2) {
          const uint32_t magnitude = load_le<uint16_t>(elements.data() + i) & 0x7fffu;
          saturated += magnitude == 0x7bff;
          denormal += magnitude != 0 && magnitude < 0x400;
        }
      }
    }
  }
  EXPECT_GT(std::min(saturated, denormal), 1000u);
}

TEST_F(ValueKernels, PairsBecomeTheSameElements) {
  std::vector<int32_t> cosines(kTokens), sines(kTokens);
  for (int exponent = -64; exponent <= 126; ++exponent) {
    for (int round = 0; round < 10; ++round) {
      const ChannelModel first = any_channel(), second = any_channel();
      const std::vector<int16_t> x = any_int16s(kTokens), y = any_int16s(kTokens);
      // Whole quarters of a turn among them.
      fill_turns(round % 3 == 0 ? uint64_t{1} << 62 : prng_.next(), prng_.next(), cosines, sines);
      for (DType dtype : kDTypes) {
        const ElementFormat format{.dtype = dtype, .exponent = exponent};
        const auto restored = [&](const Kernels& kernels) {
          std::array<Bytes, 2> out;
          out.fill(Bytes(kTokens * dtype_bytes(dtype)));
          kernels.restore_pair(format,
                               first,
                               second,
                               cosines,
                               sines,
                               x.data(),
                               y.data(),
                               out[0].data(),
                               out[1].data());
          return out;
        };
        ASSERT_EQ(restored(*vector_), restored(oracle_)) << dtype_name(dtype) << " " << exponent;
      }
    }
  }
}

TEST_F(ValueKernels, ElementsDoNotDependOnTheRoundingMode) {
  const std::vector<int16_t> coefficients = any_int16s(kTokens);
  for (DType dtype : kDTypes) {
    const ElementFormat format{.dtype = dtype, .exponent = 20};
    Bytes elements(kTokens * dtype_bytes(dtype)), twin(elements.size());
    const ChannelModel model{.mean = 77, .mantissa = 30001, .shift = 14};
    oracle_.restore_channel(format, model, coefficients, elements.data());
    for (int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
      std::fesetround(mode);
      vector_->restore_channel(format, model, coefficients, twin.data());
      std::fesetround(FE_TONEAREST);
      EXPECT_EQ(twin, elements) << dtype_name(dtype);
    }
  }
}

TEST_F(ValueKernels, TransposesOfAnyShapeAtAnyAddress) {
  for (size_t rows : {1u, 2u, 7u, 8u, 9u, 16u, 31u, 64u}) {
    for (size_t columns : {1u, 3u, 15u, 16u, 17u, 33u, 96u}) {
      for (size_t shift : {0u, 1u, 3u}) {
        const size_t bytes = 2 * rows * columns;
        Bytes in(shift + bytes), out(shift + bytes + 1, 0x77), twin = out;
        std::generate(in.begin(), in.end(), [&] { return static_cast<uint8_t>(prng_.next()); });
        oracle_.transpose(in.data() + shift, rows, columns, out.data() + shift);
        vector_->transpose(in.data() + shift, rows, columns, twin.data() + shift);
        ASSERT_EQ(twin, out) << rows << " x " << columns << " at " << shift;
        EXPECT_EQ(out.back(), 0x77);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::codec
