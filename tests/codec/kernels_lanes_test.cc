// The kernels that decode lanes: whatever the words are, and wherever they end, both sets come to
// the same verdict and the same values.
#include <span>

#include "codec/direct_tables.h"
#include "codec/progressive.h"
#include "codec/progressive_tables.h"
#include "codec/residual_grid.h"
#include "tests/codec/kernels_test.h"

namespace sluice::codec {
namespace {

constexpr size_t kTokens = 64;

// A symbol of every lane, all those of its table being as likely, and the bits behind it.
struct EvenStep {
  LaneCodes codes;
  std::array<const DecodeTable*, kLanes> tables;
  std::array<uint32_t, kLanes> bits;
};

// table_of(lane) is a DecodeTable, bits_of(code) how many bits a lane with this code takes.
template <class TableOf, class BitsOf>
EvenStep even_step(Prng& prng, TableOf table_of, BitsOf bits_of) {
  EvenStep step;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    step.tables[lane] = &table_of(lane);
    const auto& ranges = step.tables[lane]->ranges;
    do {
      step.codes[lane] = static_cast<uint8_t>(prng.below(ranges.size()));
    } while (ranges[step.codes[lane]] == 0);
    step.bits[lane] = bits_of(step.codes[lane]);
  }
  return step;
}

LaneBytes encoded_steps(Prng& prng, const std::vector<EvenStep>& steps) {
  constexpr std::array<uint8_t, kSeedBytes> kNoSeed{};
  std::vector<uint16_t> words;
  LaneEncoder lanes(ByteSpan(kNoSeed).first(0), 3 * kLanes * steps.size(), words);
  for (size_t i = steps.size(); i-- > 0;) {
    const EvenStep& step = steps[i];
    for (size_t lane = kLanes; lane-- > 0;) {
      if (const uint32_t bits = step.bits[lane]; bits != 0) {
        // Odd, as an escaped -4096 is no value.
        lanes.sink().encode_bits(lane, static_cast<uint32_t>(prng.below(1u << bits)) | 1, bits);
      }
    }
    lanes.sink().encode_symbols([&](size_t lane) {
      const uint32_t range = step.tables[lane]->ranges[step.codes[lane]];
      return SymbolRange{range >> 16, range & 0xffff};
    });
  }
  Bytes section(kStatesBytes + 6 * kLanes * steps.size());
  const size_t bytes = lanes.write(section);
  section.resize(bytes);
  return {std::move(section), (bytes - kStatesBytes) / 2};
}

class LaneKernels : public KernelsTest {
 protected:
  // Bytes of an encoder: all of them decode, and with a word less they run out.
  template <class T, class Decode>
  void expect_same_of_good(const LaneBytes& lanes, const std::vector<T>& before, Decode decode) {
    EXPECT_TRUE(same_from_lanes(lanes, lanes.words, before, decode));
    EXPECT_FALSE(same_from_lanes(lanes, lanes.words - 1, before, decode));
    same_from_lanes(lanes, below(lanes.words), before, decode);
  }

  // Any bytes, of which there are enough or not.
  template <class T, class Decode>
  void expect_same_of_noise(size_t steps, const std::vector<T>& before, Decode decode) {
    const LaneBytes lanes = LaneBytes::noise(prng_, 3 * kLanes * steps);
    good_ += same_from_lanes(lanes, lanes.words, before, decode);
    bad_ += !same_from_lanes(lanes, below(kLanes * steps / 8), before, decode);
  }

  size_t good_ = 0, bad_ = 0;
};

TEST_F(LaneKernels, FirstRowsOfEveryScale) {
  for (uint8_t scale = 0; scale < kScales; ++scale) {
    const std::vector<uint8_t> scales(3, scale);
    const std::vector<int16_t> before(scales.size() * kTokens, 77);
    const auto decode = [&](const Kernels& kernels, LaneCursor& lanes, int16_t* values) {
      return kernels.decode_first(lanes, scales, kTokens, values);
    };
    std::vector<EvenStep> steps(before.size() / kLanes);
    for (EvenStep& step : steps) {
      step = even_step(
          prng_,
          [&](size_t) -> const DecodeTable& { return value_tables().by_slot[scale]; },
          [&](uint8_t code) {
            return code == kEscapeCode ? kEscapeBits : kScaleModels[scale].low_bits;
          });
    }
    expect_same_of_good(encoded_steps(prng_, steps), before, decode);
    for (int round = 0; round < 20; ++round) {
      expect_same_of_noise(steps.size(), before, decode);
    }
  }
  EXPECT_GT(good_, 32u);
  EXPECT_GT(bad_, 32u);
}

TEST_F(LaneKernels, FirstRowsWithAValueThatIsNone) {
  const std::vector<uint8_t> scales = {13};
  const std::vector<int16_t> before(kLanes);
  for (size_t lane = 0; lane < kLanes; ++lane) {
    LaneBytes lanes = LaneBytes::noise(prng_, 3 * kLanes);
    for (size_t other = 0; other < kLanes; ++other) {
      store_le(lanes.bytes.data() + 4 * other, uint32_t{0x00012800});  // slot of the symbol 0
    }
    // The escape, of frequency 1; then 13 bits of its state: 0x1000.
    store_le(lanes.bytes.data() + 4 * lane, uint32_t{0x41000fff});
    store_le(lanes.bytes.data() + kStatesBytes, uint16_t{0x1000});
    EXPECT_FALSE(same_from_lanes(
        lanes, lanes.words, before, [&](const Kernels& kernels, LaneCursor& cursor, int16_t* out) {
          return kernels.decode_first(cursor, scales, kLanes, out);
        }));
  }
}

TEST_F(LaneKernels, RefinementsOfEveryScale) {
  for (uint8_t scale = 0; scale < kScales; ++scale) {
    const std::vector<uint8_t> scales(3, scale);
    const std::vector<int16_t> before = any_int16s(scales.size() * kTokens);
    const auto decode = [&](const Kernels& kernels, LaneCursor& lanes, int16_t* values) {
      return kernels.decode_refinement(lanes, scales, kTokens, values);
    };
    std::vector<EvenStep> steps(before.size() / kLanes);
    for (size_t i = 0; i < steps.size(); ++i) {
      steps[i] = even_step(
          prng_,
          [&](size_t lane) -> const DecodeTable& {
            return refinement_tables().by_slot[scale][size_class(before[i * kLanes + lane])];
          },
          [](uint8_t) { return 0u; });
    }
    expect_same_of_good(encoded_steps(prng_, steps), before, decode);
    for (int round = 0; round < 20; ++round) {
      std::vector<int16_t> values = any_int16s(before.size());
      for (int16_t& value : values) {
        value = static_cast<int16_t>(round % 2 == 0 ? value : value % 4);
      }
      expect_same_of_noise(steps.size(), values, decode);
    }
  }
  EXPECT_GT(good_, 32u);
  EXPECT_GT(bad_, 32u);
}

// Grids from the finest to the coarsest that a profile can ask for.
TEST_F(LaneKernels, ResidualsOfAnyElements) {
  size_t least = 0, most = 0, narrow = 0, wide = 0;
  for (int round = 0; round < 3000; ++round) {
    const bool extreme = round % 3 == 0;
    PlaneModel model{.exponent = extreme ? (round % 2 == 0 ? -64 : 126) : between(-64, 126),
                     .step_bits = static_cast<uint32_t>(between(3, 7))};
    for (int c = 0; c < 3; ++c) {
      const int mantissa = c == 0 ? between(23169, 23170) : between(16384, 32767);
      model.channels.push_back({.mantissa = static_cast<uint16_t>(mantissa),
                                .shift = static_cast<uint8_t>(between(8, 30))});
    }
    const ResidualShape shape{.model = model,
                              .stored = round % 2 == 0 ? DType::f16 : DType::bf16,
                              .level = static_cast<Level>(between(1, 3)),
                              .correction = between(-128, 127)};
    std::vector<uint16_t> elements(model.channels.size() * kLanes);
    for (uint16_t& element : elements) {
      // A third denormal or zero, a third infinite or no number.
      const uint16_t field = shape.stored == DType::f16 ? 0x7c00 : 0x7f80;
      element = static_cast<uint16_t>(prng_.next());
      const auto kind = below(3);
      element = static_cast<uint16_t>(kind == 0   ? element & ~field
                                      : kind == 1 ? element | field
                                                  : element);
    }
    for (const ChannelModel& channel : model.channels) {
      const ResidualChannel its = residual_channel(shape, channel);
      const int width = its.width_on(its.grid(elements[0]));
      least += its.least_power == 1;
      most += its.least_power == 30;
      narrow += width == -144;
      wide += width == 143;
    }
    expect_same_of_noise(model.channels.size(),
                         elements,
                         [&](const Kernels& kernels, LaneCursor& lanes, uint16_t* values) {
                           return kernels.decode_residuals(lanes, shape, kLanes, values);
                         });
  }
  EXPECT_GT(std::min({good_, bad_, least, most, narrow, wide}), 0u);
}

TEST_F(LaneKernels, ResidualsBetweenAnyTwoElements) {
  LayerModel layer{.planes = {PlaneModel{}}};
  PlaneModel& model = layer.planes[0];
  for (int round = 0; round < 600; ++round) {
    model.exponent = between(-8, 24);
    model.channels.assign(3, {.mantissa = 20000, .shift = static_cast<uint8_t>(between(8, 20))});
    const ProgressiveShape shape{.layers = std::span(&layer, 1),
                                 .channels = 3,
                                 .n_tokens = kLanes,
                                 .stored = round % 2 == 0 ? DType::f16 : DType::bf16};
    std::vector<uint16_t> restored(shape.values()), source(shape.values());
    for (size_t i = 0; i < restored.size(); ++i) {
      restored[i] = static_cast<uint16_t>(prng_.next());
      source[i] = static_cast<uint16_t>(below(2) == 0 ? prng_.next() : restored[i] + below(9));
    }
    Workspace workspace;
    Bytes section(1 + kStatesBytes + 6 * source.size());
    const size_t bytes = encode_residuals(shape, Level::q2, restored, source, section, workspace);
    const ResidualShape residuals{.model = model,
                                  .stored = shape.stored,
                                  .level = Level::q2,
                                  .correction = static_cast<int8_t>(section[0])};
    const LaneBytes lanes(
        Bytes(section.begin() + 1, section.begin() + static_cast<ptrdiff_t>(bytes)),
        (bytes - 1 - kStatesBytes) / 2);
    const auto decode = [&](const Kernels& kernels, LaneCursor& cursor, uint16_t* values) {
      return kernels.decode_residuals(cursor, residuals, kLanes, values);
    };
    expect_same_of_good(lanes, restored, decode);
    LaneCursor cursor = lanes.cursor(lanes.words);
    ASSERT_TRUE(decode(*vector_, cursor, restored.data()));
    EXPECT_EQ(restored, source);
  }
}

TEST_F(LaneKernels, CellsOfEveryTag) {
  for (uint32_t tag = 0; tag < kDirectCodedTags; ++tag) {
    const DirectShape shape{
        .layers = 1, .channels = 3, .n_tokens = kTokens, .mantissa_bits = tag % 2 == 0 ? 10u : 7u};
    const Bytes reference = {static_cast<uint8_t>(prng_.next()),
                             static_cast<uint8_t>(prng_.next())};
    const auto coded = static_cast<uint8_t>(tag);
    const Bytes tags = {coded, tag % 3 == 0 ? kDirectTagRaw : kDirectTagConstant, coded};
    const DirectTags head{.references = reference, .tags = tags};
    const std::vector<uint16_t> before(shape.values(), 0x5a5a);
    const auto decode = [&](const Kernels& kernels, LaneCursor& lanes, uint16_t* values) {
      return kernels.decode_cells(lanes, shape, head, values);
    };
    const DecodeTable& table = direct_tables()[direct_model(shape, head, 0).table];
    std::vector<EvenStep> steps(2 * kTokens / kLanes);
    for (EvenStep& step : steps) {
      step = even_step(
          prng_,
          [&](size_t) -> const DecodeTable& { return table; },
          [&](uint8_t code) { return code == kEscapeCode ? 16 - shape.low_bits() : 0; });
    }
    expect_same_of_good(encoded_steps(prng_, steps), before, decode);
    for (int round = 0; round < 5; ++round) {
      expect_same_of_noise(steps.size(), before, decode);
    }
  }
  EXPECT_GT(std::min(good_, bad_), 0u);
}

}  // namespace
}  // namespace sluice::codec
