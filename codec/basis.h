// The orthonormal transform of one plane of one layer: components, which are quantised, to channels
// and back (FORMAT.md, "Basis").
//
// Not how it is found (python/sluice_kv) nor what is quantised (progressive_values.h). Private to
// codec/. Integers only: every machine gives the same. Sums and results are modulo their width, so
// that any bytes may come in. No allocation beyond growing scratch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sluice::codec {

// Turns two rows into each other; in 1/2^15.
struct GivensPair {
  uint16_t first = 0;
  uint16_t second = 0;
  int16_t cosine = 0;
  int16_t sine = 0;

  bool operator==(const GivensPair&) const = default;
};

// Either pairs, or matrices, or nothing: the identity.
struct Basis {
  std::vector<GivensPair> pairs;  // stages one after the other, each of half as many as channels
  uint32_t matrix_channels = 0;   // that one matrix covers
  std::vector<int16_t> matrices;  // [group][channel][component], in 1/2^15

  bool is_identity() const { return pairs.empty() && matrices.empty(); }

  bool operator==(const Basis&) const = default;
};

// In place. Shape: `values` is [component][token] before, [channel][token] after.
void to_channels(const Basis& basis,
                 size_t n_tokens,
                 std::span<int16_t> values,
                 std::vector<int16_t>& scratch);

// The transpose, which is the inverse but for rounding.
void to_components(const Basis& basis,
                   size_t n_tokens,
                   std::span<int16_t> values,
                   std::vector<int16_t>& scratch);

// The same basis with channels, and components with them, in another order. Shape: `old_of` has the
// old number of each; groups of matrix_channels stay together.
void permute_basis(Basis& basis, std::span<const uint32_t> old_of);

}  // namespace sluice::codec
