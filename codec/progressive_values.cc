#include "codec/progressive_values.h"

#include <algorithm>
#include <cstdlib>

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

// floor(|value - mean| / step + 0.42), with the sign of the difference.
void quantise_channel(const ChannelModel& model,
                      std::span<const uint32_t> values,
                      std::span<int16_t> quantised,
                      std::span<uint64_t> energies) {
  // The step is mantissa x 2^(3 - shift), so a quotient is a product with 2^45 / mantissa.
  uint64_t inverse = (uint64_t{1} << 45) / model.mantissa;
  uint32_t down = 48u - model.shift;  // 18 to 40
  uint64_t rounding = uint64_t{kRoundingUp} << (down - 16);
  for (size_t token = 0; token < values.size(); ++token) {
    int32_t difference = static_cast<int32_t>(values[token]) - model.mean;
    auto magnitude = static_cast<uint32_t>(std::abs(difference));
    uint64_t steps = (magnitude * inverse + rounding) >> down;
    bool fits = steps <= kQuantisedMax;
    auto q = static_cast<int32_t>(fits ? steps : 0);
    quantised[token] = static_cast<int16_t>(difference < 0 ? -q : q);
    energies[token] = (energies[token] + static_cast<uint32_t>(q * q)) | (fits ? 0 : kMarked);
  }
}

void restore_channel(const ChannelModel& model,
                     std::span<const int16_t> coefficients,
                     std::span<uint32_t> values) {
  int32_t mantissa = model.mantissa;
  int32_t half = 1 << (model.shift - 1);
  for (size_t token = 0; token < values.size(); ++token) {
    int32_t scaled = (coefficients[token] * mantissa + half) >> model.shift;
    values[token] = static_cast<uint32_t>(scaled + model.mean);
  }
}

std::span<uint32_t> grown(std::vector<uint32_t>& scratch, size_t size) {
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
                    std::vector<uint32_t>& scratch) {
  size_t n_tokens = transform.shape.n_tokens;
  size_t channels = transform.model.channels.size();
  std::span<uint32_t> values = grown(scratch, channels * n_tokens);
  gather_as_f32(transform.shape, layer, values);
  for (size_t c = 0; c < channels; ++c) {
    fixed_from_f32(
        transform.model.exponent, values.subspan(c * n_tokens, n_tokens), kMarked, energies);
  }
  for_each_pair(transform, values, unrotate);
  for (size_t c = 0; c < channels; ++c) {
    quantise_channel(transform.model.channels[c],
                     values.subspan(c * n_tokens, n_tokens),
                     quantised.subspan(c * n_tokens, n_tokens),
                     energies);
  }
  for (size_t token = 0; token < n_tokens; ++token) {
    for (size_t c = 0; energies[token] > kEnergyMax && c < channels; ++c) {
      quantised[c * n_tokens + token] = 0;
    }
  }
}

void restore_layer(const LayerTransform& transform,
                   std::span<const int16_t> coefficients,
                   MutByteSpan layer,
                   std::vector<uint32_t>& scratch) {
  size_t n_tokens = transform.shape.n_tokens;
  std::span<uint32_t> values = grown(scratch, coefficients.size());
  for (size_t c = 0; c < transform.model.channels.size(); ++c) {
    restore_channel(transform.model.channels[c],
                    coefficients.subspan(c * n_tokens, n_tokens),
                    values.subspan(c * n_tokens, n_tokens));
  }
  for_each_pair(transform, values, rotate);
  elements_from_fixed(transform.shape.dtype, transform.model.exponent, values);
  scatter_bits(transform.shape, values, layer);
}

}  // namespace sluice::codec
