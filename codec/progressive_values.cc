#include "codec/progressive_values.h"

#include <algorithm>

#include "codec/kernels.h"
#include "codec/progressive_rom.h"
#include "codec/rotation.h"

namespace sluice::codec {
namespace {

// Calls visit(pair, first channel, second channel) for each pair of every head that rotates.
template <class Visit>
void for_each_pair(const LayerTransform& transform, Visit visit) {
  if (transform.rotation == kNotRotated) {
    return;
  }
  const size_t pairs = transform.plane.rotated_dims / 2;
  const bool neox = transform.pairing == RopePairing::neox;
  for (size_t head = 0; head < transform.plane.heads; ++head) {
    const size_t first = head * transform.plane.dim;
    for (size_t pair = 0; pair < pairs; ++pair) {
      visit(pair, first + (neox ? pair : 2 * pair), first + (neox ? pair + pairs : 2 * pair + 1));
    }
  }
}

// Calls visit(channel) for each of the others.
template <class Visit>
void for_each_unrotated(const LayerTransform& transform, Visit visit) {
  const size_t rotated = transform.rotation == kNotRotated ? 0 : transform.plane.rotated_dims;
  for (size_t c = 0; c < transform.model.channels.size(); ++c) {
    if (c % transform.plane.dim >= rotated) {
      visit(c);
    }
  }
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
                    const Kernels& kernels,
                    std::span<uint32_t> energies,
                    LayerScratch& scratch) {
  const size_t n_tokens = transform.shape.n_tokens;
  const PlaneModel& model = transform.model;
  const size_t row_bytes = n_tokens * dtype_bytes(transform.shape.stored);
  const MutByteSpan rows =
      bytes_of(grown(scratch.elements, model.channels.size() * row_bytes / sizeof(uint16_t)));
  gather_layer(transform.shape, kernels, layer, rows);

  const ElementFormat format{.dtype = transform.shape.stored, .exponent = model.exponent};
  const auto row = [&](size_t c) { return rows.data() + c * row_bytes; };
  const auto out = [&](size_t c) { return quantised.data() + c * n_tokens; };
  for_each_pair(transform, [&](size_t pair, size_t first, size_t second) {
    kernels.fix_pair(format,
                     model.channels[first],
                     model.channels[second],
                     transform.turns.cosines(transform.rotation, pair),
                     transform.turns.sines(transform.rotation, pair),
                     row(first),
                     row(second),
                     out(first),
                     out(second),
                     energies.data());
  });
  for_each_unrotated(transform, [&](size_t c) {
    kernels.fix_channel(format, model.channels[c], n_tokens, row(c), out(c), energies.data());
  });
  for (size_t token = 0; token < n_tokens; ++token) {
    for (size_t c = 0; energies[token] > kEnergyMax && c < model.channels.size(); ++c) {
      quantised[c * n_tokens + token] = 0;
    }
  }
  kernels.to_components(model.basis, n_tokens, quantised, scratch.group);
  kernels.quantise(model.step_bits, quantised);
}

void restore_layer(const LayerTransform& transform,
                   Level level,
                   std::span<const uint8_t> scales,
                   std::span<const int16_t> quantised,
                   const Kernels& kernels,
                   LayerScratch& scratch,
                   MutByteSpan elements) {
  const size_t n_tokens = transform.shape.n_tokens;
  const PlaneModel& model = transform.model;
  std::span<int16_t> coefficients = grown(scratch.coefficients, quantised.size());
  const StepPlace place{.level = level, .step_bits = model.step_bits};
  for (size_t c = 0; c < scales.size(); ++c) {
    kernels.place_in_steps(place,
                           scales[c],
                           quantised.subspan(c * n_tokens, n_tokens),
                           coefficients.data() + c * n_tokens);
  }
  kernels.to_channels(model.basis, n_tokens, coefficients, scratch.group);

  const ElementFormat format{.dtype = transform.shape.stored, .exponent = model.exponent};
  const size_t row_bytes = n_tokens * dtype_bytes(format.dtype);
  const auto row = [&](size_t c) { return coefficients.subspan(c * n_tokens, n_tokens); };
  const auto out = [&](size_t c) { return elements.data() + c * row_bytes; };
  for_each_pair(transform, [&](size_t pair, size_t first, size_t second) {
    kernels.restore_pair(format,
                         model.channels[first],
                         model.channels[second],
                         transform.turns.cosines(transform.rotation, pair),
                         transform.turns.sines(transform.rotation, pair),
                         row(first).data(),
                         row(second).data(),
                         out(first),
                         out(second));
  });
  for_each_unrotated(transform, [&](size_t c) {
    kernels.restore_channel(format, model.channels[c], row(c), out(c));
  });
}

}  // namespace sluice::codec
