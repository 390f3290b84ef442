// The kernels that encode: both sets put the same words and leave the same states.
#include <algorithm>
#include <limits>
#include <numeric>
#include <span>

#include "codec/fixed_point.h"
#include "codec/progressive_rom.h"
#include "tests/codec/kernels_test.h"
#include "tests/codec/sample_kv.h"

namespace sluice::codec {
namespace {

constexpr size_t kTokens = 64;

// What a sink has taken: states, and words from the first to the last put.
struct Taken {
  std::array<uint32_t, kLanes> states;
  std::vector<uint16_t> words;

  bool operator==(const Taken&) const = default;
};

class EncodeKernels : public KernelsTest {
 protected:
  template <class Encode>
  void expect_same(size_t words_max, Encode encode) {
    std::array<uint32_t, kLanes> states;
    for (uint32_t& state : states) {
      state = kStateLow + below(0xffff0000u);
    }
    const auto taken_by = [&](const Kernels& kernels) {
      std::vector<uint16_t> memory(words_max + kSinkRoom);
      uint16_t* end = memory.data() + memory.size();
      LaneSink sink{.states = states, .words = end};
      encode(kernels, sink);
      return Taken{sink.states, {sink.words, end}};
    };
    const Taken oracle = taken_by(oracle_);
    EXPECT_TRUE(taken_by(*vector_) == oracle);
    words_ += oracle.words.size();
  }

  std::vector<uint8_t> any_scales(size_t count) {
    std::vector<uint8_t> scales(count);
    std::generate(
        scales.begin(), scales.end(), [&] { return static_cast<uint8_t>(below(kScales)); });
    return scales;
  }

  // Mostly small, some as large as a value can be.
  std::vector<int16_t> any_values(size_t count) {
    std::vector<int16_t> values(count);
    for (int16_t& value : values) {
      const int most = below(16) == 0 ? kQuantisedMax : below(4) == 0 ? 40 : 3;
      value = static_cast<int16_t>(between(-most, most));
    }
    return values;
  }

  PlaneModel any_model(size_t channels, int exponent) {
    PlaneModel model{.exponent = exponent, .step_bits = 3 + below(5)};
    for (size_t c = 0; c < channels; ++c) {
      model.channels.push_back({.mean = between(-(1 << 22), 1 << 22),
                                .mantissa = static_cast<uint16_t>(between(16384, 32767)),
                                .shift = static_cast<uint8_t>(between(8, 30))});
    }
    return model;
  }

  // Elements of every kind: as sample_kv has them, and any bits.
  Bytes any_elements(DType dtype, size_t count) {
    const PageGeometry geometry{
        .planes = {{PlaneRole::k, dtype, 1, 4}}, .layers = 1, .n_tokens = 4096};
    Bytes bytes = sample_tensors(
        geometry, below(2) == 0 ? Sample::special_values : Sample::wide_channels, below(1000));
    bytes.resize(count * dtype_bytes(dtype));
    for (uint8_t& byte : bytes) {
      byte = below(8) == 0 ? static_cast<uint8_t>(prng_.next()) : byte;
    }
    return bytes;
  }

  size_t words_ = 0;
};

TEST_F(EncodeKernels, ValuesOfAllLevels) {
  for (int round = 0; round < 200; ++round) {
    const std::vector<uint8_t> scales = any_scales(5);
    const std::vector<int16_t> values = any_values(scales.size() * kTokens);
    for (Level level : {Level::q1, Level::q2, Level::q3}) {
      std::vector<int16_t> oracle(values.size()), vector(values.size());
      oracle_.coarsen(level, values, oracle.data());
      vector_->coarsen(level, values, vector.data());
      ASSERT_EQ(vector, oracle);
    }
    CorrectionCosts oracle{1, 2}, vector{1, 2};
    oracle_.add_first_costs(scales, kTokens, values.data(), oracle);
    vector_->add_first_costs(scales, kTokens, values.data(), vector);
    ASSERT_EQ(vector, oracle);
    expect_same(2 * values.size(), [&](const Kernels& kernels, LaneSink& sink) {
      kernels.encode_first(sink, scales, kTokens, values.data());
    });
    expect_same(values.size(), [&](const Kernels& kernels, LaneSink& sink) {
      kernels.encode_refinement(sink, scales, kTokens, values.data());
    });
  }
  EXPECT_GT(words_, 10000u);
}

TEST_F(EncodeKernels, Residuals) {
  for (int round = 0; round < 300; ++round) {
    const PlaneModel model = any_model(3, between(-64, 126));
    const ResidualShape shape{.model = model,
                              .stored = below(2) == 0 ? DType::f16 : DType::bf16,
                              .level = static_cast<Level>(between(1, 3)),
                              .correction = between(-128, 127)};
    std::vector<uint16_t> restored(3 * kTokens), source(restored.size());
    for (size_t i = 0; i < restored.size(); ++i) {
      restored[i] = static_cast<uint16_t>(prng_.next());
      source[i] = static_cast<uint16_t>(below(4) == 0 ? prng_.next() : restored[i] + below(200));
    }
    auto oracle = std::make_unique<ResidualCounts>(), vector = std::make_unique<ResidualCounts>();
    oracle_.count_residuals(shape, kTokens, restored.data(), source.data(), *oracle);
    vector_->count_residuals(shape, kTokens, restored.data(), source.data(), *vector);
    ASSERT_EQ(*vector, *oracle);
    expect_same(3 * source.size(), [&](const Kernels& kernels, LaneSink& sink) {
      kernels.encode_residuals(sink, shape, kTokens, restored.data(), source.data());
    });
  }
  EXPECT_GT(words_, 10000u);
}

TEST_F(EncodeKernels, ElementsToValues) {
  for (int round = 0; round < 600; ++round) {
    const ElementFormat format{.dtype = std::array{DType::f32, DType::f16, DType::bf16}[below(3)],
                               .exponent = below(2) == 0 ? between(-64, 126) : between(5, 25)};
    const PlaneModel model = any_model(2, format.exponent);
    const Bytes first = any_elements(format.dtype, kTokens);
    const Bytes second = any_elements(format.dtype, kTokens);
    std::vector<int32_t> cosines(kTokens), sines(kTokens);
    for (size_t i = 0; i < kTokens; ++i) {
      cosines[i] = between(-(1 << 30), 1 << 30);
      sines[i] = between(-(1 << 30), 1 << 30);
    }
    const auto made_by = [&](const Kernels& kernels) {
      std::vector<int16_t> out(3 * kTokens);
      std::vector<uint32_t> energies(kTokens, 5);
      kernels.fix_pair(format,
                       model.channels[0],
                       model.channels[1],
                       cosines,
                       sines,
                       first.data(),
                       second.data(),
                       out.data(),
                       out.data() + kTokens,
                       energies.data());
      kernels.fix_channel(format,
                          model.channels[0],
                          kTokens,
                          second.data(),
                          out.data() + 2 * kTokens,
                          energies.data());
      kernels.quantise(model.step_bits, out);
      return std::pair(out, energies);
    };
    ASSERT_EQ(made_by(*vector_), made_by(oracle_));
  }
}

// A basis that is not orthonormal makes any component of what is small enough to be coded.
TEST_F(EncodeKernels, WhatIsQuantisedFitsAnEscape) {
  for (uint32_t step_bits = 3; step_bits <= 7; ++step_bits) {
    std::vector<int16_t> oracle(1 << 16);
    std::iota(oracle.begin(), oracle.end(), std::numeric_limits<int16_t>::min());
    std::vector<int16_t> vector = oracle;
    oracle_.quantise(step_bits, oracle);
    vector_->quantise(step_bits, vector);
    EXPECT_EQ(vector, oracle);
    const auto [least, most] = std::minmax_element(oracle.begin(), oracle.end());
    EXPECT_GE(*least, -kQuantisedMax);
    EXPECT_LE(*most, kQuantisedMax);
  }
}

TEST_F(EncodeKernels, ChannelsToComponents) {
  for (size_t size : {4u, 32u, 64u, 6u}) {
    Basis givens, matrices{.matrix_channels = static_cast<uint32_t>(size)};
    for (size_t i = 0; i + 1 < size; ++i) {
      givens.pairs.push_back({static_cast<uint16_t>(i),
                              static_cast<uint16_t>(i + 1),
                              static_cast<int16_t>(between(-32767, 32767)),
                              static_cast<int16_t>(between(-32767, 32767))});
    }
    for (size_t i = 0; i < 2 * size * size; ++i) {
      matrices.matrices.push_back(static_cast<int16_t>(between(-32767, 32767)));
    }
    for (const Basis& basis : {givens, matrices}) {
      std::vector<int16_t> oracle = any_int16s(2 * size * kTokens), vector = oracle, scratch;
      oracle_.to_components(basis, kTokens, oracle, scratch);
      vector_->to_components(basis, kTokens, vector, scratch);
      EXPECT_EQ(vector, oracle) << size;
    }
  }
}

TEST_F(EncodeKernels, Direct) {
  for (int round = 0; round < 300; ++round) {
    const DirectShape shape{
        .layers = 1, .channels = 4, .n_tokens = kTokens, .mantissa_bits = below(2) == 0 ? 7u : 10u};
    const DType dtype = shape.mantissa_bits == 7 ? DType::bf16 : DType::f16;
    const Bytes elements = any_elements(dtype, shape.values());
    std::vector<uint16_t> values(shape.values());
    std::memcpy(values.data(), elements.data(), elements.size());
    const std::span<const uint16_t> channel(values.data(), kTokens);
    const uint16_t centre = oracle_.centre_of(channel, shape.mantissa_bits);
    ASSERT_EQ(vector_->centre_of(channel, shape.mantissa_bits), centre);
    TagCosts oracle{}, vector{};
    oracle_.weigh_tags(shape, channel, centre, oracle);
    vector_->weigh_tags(shape, channel, centre, vector);
    ASSERT_EQ(vector, oracle);
    Bytes packed(kTokens * shape.low_bits() / 8 + 2), other = packed;
    oracle_.pack_low_bits(values.data(), shape.low_bits(), kTokens, packed.data());
    vector_->pack_low_bits(values.data(), shape.low_bits(), kTokens, other.data());
    ASSERT_EQ(other, packed);
    Bytes references(2), tags(4);
    store_le(references.data(), centre);
    for (uint8_t& tag : tags) {
      tag = static_cast<uint8_t>(below(8) == 0 ? kDirectTagRaw : below(kDirectCodedTags));
    }
    expect_same(2 * values.size(), [&](const Kernels& kernels, LaneSink& sink) {
      kernels.encode_cells(sink, shape, {.references = references, .tags = tags}, values.data());
    });
  }
  EXPECT_GT(words_, 10000u);
}

}  // namespace
}  // namespace sluice::codec
