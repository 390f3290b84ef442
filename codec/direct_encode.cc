#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "codec/direct.h"

namespace sluice::codec {
namespace {

constexpr uint32_t kBit = 128;                     // costs are in 1/128 bit
constexpr int kHistogramCells = kDirectCells + 2;  // the windows of three neighbouring centres

// Costs are whole numbers in floats: SSE2 multiplies those and no 32-bit integers. Sums are exact
// and alike on every machine, as the largest, 4096 escapes of 22 bits, stays below 2^24.
using CostVector [[gnu::vector_size(16)]] = float;
constexpr size_t kCostVectors = 3;  // 11 shapes, padded
using CostRow = std::array<CostVector, kCostVectors>;

struct Occurrence {
  uint32_t symbol;
  uint32_t count;
};

// Derived from the ROM once: code ranges, and what each symbol costs under each shape.
struct EncodeTables {
  std::array<std::array<SymbolRange, kDirectSymbols>, kDirectTables> ranges;
  // [centre's parity][symbol, sign of the value][shape]
  std::array<std::array<CostRow, kDirectSymbols>, 2> costs{};

  EncodeTables() {
    for (size_t t = 0; t < kDirectTables; ++t) {
      uint32_t below = 0;
      for (size_t s = 0; s < kDirectSymbols; ++s) {
        ranges[t][s] = {kDirectFrequencies[t][s], below};
        below += kDirectFrequencies[t][s];
      }
    }
    for (size_t parity = 0; parity < 2; ++parity) {
      for (size_t symbol = 0; symbol < kDirectSymbols; ++symbol) {
        for (size_t shape = 0; shape < kDirectShapes; ++shape) {
          costs[parity][symbol][shape / 4][shape % 4] =
              static_cast<float>(symbol_cost(parity, symbol, shape));
        }
      }
    }
  }

 private:
  static uint32_t symbol_cost(size_t parity, size_t symbol, size_t shape) {
    DirectModel model = direct_model(static_cast<uint8_t>(shape), static_cast<uint16_t>(parity));
    if (symbol != kDirectEscape && model.flip != 0) {
      symbol = symbol < kDirectCells ? symbol + kDirectCells : symbol - kDirectCells;
    }
    return cost_of(kDirectFrequencies[model.table][symbol]);
  }
};

const EncodeTables& encode_tables() {
  static const EncodeTables tables;
  return tables;
}

// The channel's centre: its mean position in cells, outliers and zeros clamped to 3 octaves.
uint16_t centre_of(std::span<const uint16_t> channel, uint32_t mantissa_bits) {
  auto count = static_cast<uint32_t>(channel.size());
  uint32_t sum = 0;
  for (uint16_t value : channel) {
    sum += value & 0x7fffu;
  }
  int32_t mean = static_cast<int32_t>(sum / count);
  int32_t low = mean - (3 << mantissa_bits);
  int32_t high = mean + (3 << mantissa_bits);
  int64_t clamped = 0;
  for (uint16_t value : channel) {
    clamped += std::clamp(value & 0x7fff, low, high);
  }
  // Two cells an octave: round(2 x clamped / count / 2^mantissa_bits).
  int64_t octave = int64_t{count} << mantissa_bits;
  int64_t centre = (4 * clamped + octave) / (2 * octave);
  return static_cast<uint16_t>(std::max<int64_t>(centre, 0));
}

bool is_constant(std::span<const uint16_t> channel) {
  return std::all_of(
      channel.begin(), channel.end(), [&](uint16_t value) { return value == channel.front(); });
}

// Picks each channel's tag: the model under which it takes the fewest bits.
class TagChooser {
 public:
  explicit TagChooser(const DirectShape& shape) : shape_(shape), tables_(encode_tables()) {}

  // Requires: centre <= reference.
  uint8_t choose(std::span<const uint16_t> channel, int centre, int reference) {
    centre = std::max(centre, reference - (kDirectCentres - 1));
    count(channel, centre - 1 - kDirectCellsBelow);
    best_cost_ = shape_.n_tokens * escape_bits() * kBit;
    best_tag_ = kDirectTagRaw;
    // Ascending tags: a tie goes to the lowest.
    for (int shift = 2; shift >= 0; --shift) {
      int tried = centre - 1 + shift;
      int drop = reference - tried;
      if (tried >= 0 && drop >= 0 && drop < kDirectCentres) {
        weigh(static_cast<size_t>(shift), static_cast<size_t>(tried & 1), drop);
      }
    }
    return best_tag_;
  }

 private:
  uint32_t escape_bits() const { return 16 - shape_.low_bits(); }

  // How often each sign and cell from `first_cell` on occurs.
  void count(std::span<const uint16_t> channel, int first_cell) {
    counts_ = {};
    for (uint16_t value : channel) {
      int cell = ((value & 0x7fff) >> shape_.low_bits()) - first_cell;
      if (cell >= 0 && cell < kHistogramCells) {
        ++counts_[value >> 15][static_cast<size_t>(cell)];
      }
    }
  }

  // Weighs all shapes with one centre, whose window begins `shift` cells into the counts.
  void weigh(size_t shift, size_t parity, int drop) {
    const auto& costs = tables_.costs[parity];
    // First a list of the symbols that occur, about 20 of 48: a branch on each count is foreseen by
    // nobody.
    std::array<Occurrence, kDirectSymbols> occurring;
    size_t occurring_count = 0;
    for (size_t sign = 0; sign < 2; ++sign) {
      for (size_t cell = 0; cell < kDirectCells; ++cell) {
        uint32_t n = counts_[sign][cell + shift];
        occurring[occurring_count] = {static_cast<uint32_t>(sign * kDirectCells + cell), n};
        occurring_count += n != 0;
      }
    }
    CostRow sums{};
    uint32_t escapes = shape_.n_tokens;
    for (size_t i = 0; i < occurring_count; ++i) {
      escapes -= occurring[i].count;
      add(sums, costs[occurring[i].symbol], occurring[i].count);
    }
    add(sums, costs[kDirectEscape], escapes);
    for (size_t i = 0; i < kDirectShapes; ++i) {
      uint32_t cost = static_cast<uint32_t>(sums[i / 4][i % 4]) + escapes * escape_bits() * kBit;
      if (cost < best_cost_) {
        best_cost_ = cost;
        best_tag_ = static_cast<uint8_t>(drop * kDirectShapes + static_cast<int>(i));
      }
    }
  }

  static void add(CostRow& sums, const CostRow& costs, uint32_t count) {
    for (size_t i = 0; i < kCostVectors; ++i) {
      sums[i] += costs[i] * static_cast<float>(count);
    }
  }

  const DirectShape& shape_;
  const EncodeTables& tables_;
  std::array<std::array<uint32_t, kHistogramCells>, 2> counts_{};  // [sign][cell]
  uint32_t best_cost_ = 0;
  uint8_t best_tag_ = 0;
};

// Writes a layer's reference and the tags of its channels.
void choose_tags(const DirectShape& shape,
                 std::span<const uint16_t> layer,
                 uint8_t* reference_out,
                 MutByteSpan tags,
                 std::vector<uint16_t>& centres) {
  uint16_t reference = 0;
  centres.resize(shape.channels);
  for (size_t c = 0; c < shape.channels; ++c) {
    std::span<const uint16_t> channel = layer.subspan(c * shape.n_tokens, shape.n_tokens);
    tags[c] = is_constant(channel) ? kDirectTagConstant : kDirectTagRaw;
    if (tags[c] != kDirectTagConstant) {
      centres[c] = centre_of(channel, shape.mantissa_bits);
      reference = std::max(reference, centres[c]);
    }
  }
  store_le(reference_out, reference);
  TagChooser chooser(shape);
  for (size_t c = 0; c < shape.channels; ++c) {
    if (tags[c] != kDirectTagConstant) {
      tags[c] =
          chooser.choose(layer.subspan(c * shape.n_tokens, shape.n_tokens), centres[c], reference);
    }
  }
}

// Appends 16-bit values, or their low bits, as a stream of bits; the first in the lowest.
class BitWriter {
 public:
  explicit BitWriter(uint8_t* out) : out_(out) {}

  void append(std::span<const uint16_t> values, uint32_t bits) {
    uint32_t mask = (1u << bits) - 1;
    for (uint16_t value : values) {
      held_ |= uint64_t{value & mask} << held_bits_;
      held_bits_ += bits;
      if (held_bits_ >= 32) {
        store_le(out_, static_cast<uint32_t>(held_));
        out_ += 4;
        held_ >>= 32;
        held_bits_ -= 32;
      }
    }
  }

  // Ends on a whole byte. Requires: the bits appended since the last flush are whole bytes.
  void flush() {
    for (; held_bits_ >= 8; held_bits_ -= 8, held_ >>= 8) {
      *out_++ = static_cast<uint8_t>(held_);
    }
  }

 private:
  uint8_t* out_;
  uint64_t held_ = 0;
  uint32_t held_bits_ = 0;
};

// All raw bits of the section, channel after channel.
void pack_raw_bits(const DirectShape& shape,
                   std::span<const uint16_t> values,
                   ByteSpan tags,
                   uint8_t* out) {
  for (size_t c = 0; c < tags.size(); ++c) {
    std::span<const uint16_t> channel = values.subspan(c * shape.n_tokens, shape.n_tokens);
    BitWriter writer(out);
    if (tags[c] == kDirectTagConstant) {
      writer.append(channel.first(1), 16);
    } else {
      writer.append(channel, tags[c] == kDirectTagRaw ? 16 : shape.low_bits());
    }
    writer.flush();
    out += shape.raw_bytes(tags[c]);
  }
}

// Encodes one step: 32 tokens of one channel.
void encode_step(LaneSink& lanes,
                 const DirectModel& model,
                 const uint16_t* values,
                 uint32_t low_bits) {
  LaneCodes symbols;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    int cell = ((values[lane] & 0x7fff) >> low_bits) - model.first_cell;
    bool escapes = cell < 0 || cell >= kDirectCells;
    uint32_t sign = (values[lane] >> 15) ^ model.flip;
    symbols[lane] = static_cast<uint8_t>(escapes ? kDirectEscape
                                                 : static_cast<int>(sign) * kDirectCells + cell);
  }
  for (size_t lane = kLanes; lane-- > 0;) {
    if (symbols[lane] == kDirectEscape) {
      lanes.encode_bits(lane, values[lane] >> low_bits, 16 - low_bits);
    }
  }
  lanes.encode_symbols([&](size_t lane) -> const SymbolRange& {
    return encode_tables().ranges[model.table][symbols[lane]];
  });
}

}  // namespace

size_t encode_direct(const DirectShape& shape,
                     std::span<const uint16_t> values,
                     MutByteSpan out,
                     Workspace& workspace) {
  if (out.size() < shape.states_at()) {
    return 0;
  }
  MutByteSpan references = out.first(shape.references_bytes());
  MutByteSpan tags = out.subspan(references.size(), shape.channel_count());
  size_t raw_bytes = 0;
  for (size_t layer = 0; layer < shape.layers; ++layer) {
    MutByteSpan layer_tags = tags.subspan(layer * shape.channels, shape.channels);
    size_t layer_values = size_t{shape.channels} * shape.n_tokens;
    choose_tags(shape,
                values.subspan(layer * layer_values, layer_values),
                references.data() + 2 * layer,
                layer_tags,
                workspace.centres);
    for (uint8_t tag : layer_tags) {
      raw_bytes += shape.raw_bytes(tag);
    }
  }

  // Zeros behind the raw bits, for states that none of them seeds.
  workspace.bytes.assign(raw_bytes + kSeedBytes, 0);
  pack_raw_bits(shape, values, tags, workspace.bytes.data());

  // A symbol and its escape emit one word each, at most.
  LaneEncoder lanes(ByteSpan(workspace.bytes).first(raw_bytes), 2 * values.size(), workspace.words);
  for (size_t c = tags.size(); c-- > 0;) {
    if (tags[c] < kDirectCodedTags) {
      auto reference = load_le<uint16_t>(references.data() + 2 * (c / shape.channels));
      DirectModel model = direct_model(tags[c], reference);
      for (size_t token = shape.n_tokens; token > 0; token -= kLanes) {
        const uint16_t* step = values.data() + c * shape.n_tokens + token - kLanes;
        encode_step(lanes.sink(), model, step, shape.low_bits());
      }
    }
  }
  size_t coded_bytes = lanes.write(out.subspan(shape.states_at()));
  return coded_bytes == 0 ? 0 : shape.states_at() + coded_bytes;
}

}  // namespace sluice::codec
