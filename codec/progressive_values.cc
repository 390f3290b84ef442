#include "codec/progressive_values.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "codec/fixed_point.h"
#include "codec/progressive_rom.h"
#include "codec/rotation.h"

namespace sluice::codec {
namespace {

// Above every sum of squares that a token can have.
constexpr uint64_t kMarked = uint64_t{1} << 62;

// Calls turn(cosines, sines, first channel, second channel) for each pair of every head.
// Signed and unsigned integers of one width may alias.
template <class TurnPair>
void for_each_pair(const LayerTransform& transform, std::span<uint32_t> values, TurnPair turn) {
  if (transform.rotation == kNotRotated) {
    return;
  }
  size_t pairs = transform.plane.rotated_dims / 2;
  bool neox = transform.pairing == RopePairing::neox;
  auto channel = [&](size_t head, size_t dim) {
    size_t n_tokens = transform.shape.n_tokens;
    uint32_t* first = values.data() + (head * transform.plane.dim + dim) * n_tokens;
    return std::span<int32_t>(reinterpret_cast<int32_t*>(first), n_tokens);
  };
  for (size_t head = 0; head < transform.plane.heads; ++head) {
    for (size_t pair = 0; pair < pairs; ++pair) {
      turn(transform.turns.cosines(transform.rotation, pair),
           transform.turns.sines(transform.rotation, pair),
           channel(head, neox ? pair : 2 * pair),
           channel(head, neox ? pair + pairs : 2 * pair + 1));
    }
  }
}

// Values less their mean, in coefficients.
void scale_down(const ChannelModel& model,
                std::span<const uint32_t> values,
                std::span<int16_t> coefficients,
                std::span<uint64_t> energies) {
  // A coefficient of 1 is mantissa / 2^shift, so a quotient is a product with 2^45 / mantissa.
  uint64_t inverse = (uint64_t{1} << 45) / model.mantissa;
  uint32_t down = 45u - model.shift;  // 15 to 37
  uint64_t half = uint64_t{1} << (down - 1);
  for (size_t token = 0; token < values.size(); ++token) {
    int32_t difference = static_cast<int32_t>(values[token]) - model.mean;
    auto magnitude = static_cast<uint32_t>(std::abs(difference));
    uint64_t scaled = (magnitude * inverse + half) >> down;
    bool fits = scaled <= static_cast<uint64_t>(std::numeric_limits<int16_t>::max());
    auto size = static_cast<int32_t>(fits ? scaled : 0);
    coefficients[token] = static_cast<int16_t>(difference < 0 ? -size : size);
    energies[token] = (energies[token] + static_cast<uint32_t>(size * size)) | (fits ? 0 : kMarked);
  }
}

void scale_up(const ChannelModel& model,
              std::span<const int16_t> coefficients,
              std::span<uint32_t> values) {
  int32_t mantissa = model.mantissa;
  int32_t half = 1 << (model.shift - 1);
  for (size_t token = 0; token < values.size(); ++token) {
    int32_t scaled = (coefficients[token] * mantissa + half) >> model.shift;
    values[token] = static_cast<uint32_t>(scaled + model.mean);
  }
}

// floor(|coefficient| / step + 0.42), with the sign of the coefficient.
int16_t quantised_of(int16_t coefficient, uint32_t step_bits) {
  uint32_t rounding = kRoundingUp >> (16 - step_bits);
  auto size = static_cast<uint32_t>(std::abs(int{coefficient}));
  auto q = static_cast<int>((size + rounding) >> step_bits);
  return static_cast<int16_t>(coefficient < 0 ? -q : q);
}

// What a component's quantised values of a level stand for, in coefficients modulo 2^16.
void place_in_steps(Level level,
                    uint8_t scale,
                    uint32_t step_bits,
                    std::span<const int16_t> quantised,
                    int16_t* coefficients) {
  auto index = static_cast<size_t>(level) - 1;
  const auto& offsets = kOffsets[index][scale];
  int eighth = 1 << (step_bits - 3);
  for (size_t i = 0; i < index; ++i) {
    eighth *= 3;
  }
  for (size_t token = 0; token < quantised.size(); ++token) {
    int size = std::abs(int{quantised[token]});
    int eighths = size == 0 ? 0 : 8 * size - offsets[static_cast<size_t>(std::min(size, 3) - 1)];
    int coefficient = eighths * eighth;
    coefficients[token] = static_cast<int16_t>(quantised[token] < 0 ? -coefficient : coefficient);
  }
}

template <class T>
std::span<T> grown(std::vector<T>& scratch, size_t size) {
  scratch.resize(std::max(scratch.size(), size));
  return {scratch.data(), size};
}

}  // namespace

PageTurns::PageTurns(const Profile& profile,
                     uint64_t first_position,
                     uint32_t n_tokens,
                     std::vector<int32_t>& scratch)
    : pairs_(profile.frequencies.empty() ? 0 : profile.frequencies.front().size()),
      n_tokens_(n_tokens) {
  scratch.resize(std::max(scratch.size(), profile.frequencies.size() * pairs_ * 2 * n_tokens_));
  std::span<int32_t> table(scratch);
  table_ = table;
  for (const std::vector<uint64_t>& list : profile.frequencies) {
    for (uint64_t frequency : list) {
      fill_turns(
          frequency, first_position, table.first(n_tokens), table.subspan(n_tokens, n_tokens));
      table = table.subspan(2 * n_tokens_);
    }
  }
}

size_t PageTurns::at(int rotation, size_t pair) const {
  return (static_cast<size_t>(rotation) * pairs_ + pair) * 2 * n_tokens_;
}

std::span<const int32_t> PageTurns::cosines(int rotation, size_t pair) const {
  return table_.subspan(at(rotation, pair), n_tokens_);
}

std::span<const int32_t> PageTurns::sines(int rotation, size_t pair) const {
  return table_.subspan(at(rotation, pair) + n_tokens_, n_tokens_);
}

void quantise_layer(const LayerTransform& transform,
                    ByteSpan layer,
                    std::span<int16_t> quantised,
                    std::span<uint64_t> energies,
                    LayerScratch& scratch) {
  size_t n_tokens = transform.shape.n_tokens;
  size_t channels = transform.model.channels.size();
  std::span<uint32_t> values = grown(scratch.wide, channels * n_tokens);
  gather_as_f32(transform.shape, layer, values);
  for (size_t c = 0; c < channels; ++c) {
    fixed_from_f32(
        transform.model.exponent, values.subspan(c * n_tokens, n_tokens), kMarked, energies);
  }
  for_each_pair(transform, values, unrotate);
  for (size_t c = 0; c < channels; ++c) {
    scale_down(transform.model.channels[c],
               values.subspan(c * n_tokens, n_tokens),
               quantised.subspan(c * n_tokens, n_tokens),
               energies);
  }
  for (size_t token = 0; token < n_tokens; ++token) {
    for (size_t c = 0; energies[token] > kEnergyMax && c < channels; ++c) {
      quantised[c * n_tokens + token] = 0;
    }
  }
  to_components(transform.model.basis, n_tokens, quantised, scratch.group);
  for (int16_t& value : quantised) {
    value = quantised_of(value, transform.model.step_bits);
  }
}

std::span<uint32_t> restore_layer(const LayerTransform& transform,
                                  Level level,
                                  std::span<const uint8_t> scales,
                                  std::span<const int16_t> quantised,
                                  LayerScratch& scratch) {
  size_t n_tokens = transform.shape.n_tokens;
  std::span<int16_t> coefficients = grown(scratch.coefficients, quantised.size());
  for (size_t c = 0; c < scales.size(); ++c) {
    place_in_steps(level,
                   scales[c],
                   transform.model.step_bits,
                   quantised.subspan(c * n_tokens, n_tokens),
                   coefficients.data() + c * n_tokens);
  }
  to_channels(transform.model.basis, n_tokens, coefficients, scratch.group);
  std::span<uint32_t> values = grown(scratch.wide, quantised.size());
  for (size_t c = 0; c < scales.size(); ++c) {
    scale_up(transform.model.channels[c],
             coefficients.subspan(c * n_tokens, n_tokens),
             values.subspan(c * n_tokens, n_tokens));
  }
  for_each_pair(transform, values, rotate);
  elements_from_fixed(transform.shape.stored, transform.model.exponent, values);
  return values;
}

}  // namespace sluice::codec
