#include "codec/basis.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace sluice::codec {
namespace {

constexpr int kOneBits = 15;
constexpr int32_t kHalf = 1 << (kOneBits - 1);
constexpr size_t kBlockTokens = 32;  // pages have a multiple

// A product in 1/2^15, rounded.
int32_t scaled(int16_t value, int16_t factor) {
  return (value * factor + kHalf) >> kOneBits;
}

// One loop for both directions, which differ in the sign of the sine.
template <int kSign>
void turn(const GivensPair& pair, size_t n_tokens, std::span<int16_t> values) {
  int16_t* first = values.data() + pair.first * n_tokens;
  int16_t* second = values.data() + pair.second * n_tokens;
  for (size_t token = 0; token < n_tokens; ++token) {
    int16_t x = first[token], y = second[token];
    first[token] = static_cast<int16_t>(scaled(x, pair.cosine) - kSign * scaled(y, pair.sine));
    second[token] = static_cast<int16_t>(scaled(y, pair.cosine) + kSign * scaled(x, pair.sine));
  }
}

// One matrix for 32 tokens: out[row] is the sum over k of weight(row, k) x in[k].
template <class Weight>
void multiply(size_t channels, size_t n_tokens, Weight weight, const int16_t* in, int16_t* out) {
  for (size_t row = 0; row < channels; ++row) {
    std::array<uint32_t, kBlockTokens> sums;
    sums.fill(kHalf);
    for (size_t k = 0; k < channels; ++k) {
      int32_t w = weight(row, k);
      for (size_t token = 0; token < kBlockTokens; ++token) {
        sums[token] += static_cast<uint32_t>(w * in[k * n_tokens + token]);
      }
    }
    for (size_t token = 0; token < kBlockTokens; ++token) {
      auto sum = static_cast<int32_t>(sums[token]);
      out[row * n_tokens + token] = static_cast<int16_t>(sum >> kOneBits);
    }
  }
}

// Every matrix; `transposed` says whether rows are components.
void multiply_all(const Basis& basis,
                  bool transposed,
                  size_t n_tokens,
                  std::span<int16_t> values,
                  std::vector<int16_t>& scratch) {
  const size_t size = basis.matrix_channels;
  const size_t group_values = size * n_tokens;
  scratch.resize(std::max(scratch.size(), group_values));
  const int16_t* matrix = basis.matrices.data();
  for (; !values.empty(); values = values.subspan(group_values), matrix += size * size) {
    std::copy_n(values.begin(), group_values, scratch.begin());
    const size_t row_step = transposed ? 1 : size, k_step = transposed ? size : 1;
    const auto weight = [&](size_t row, size_t k) { return matrix[row * row_step + k * k_step]; };
    for (size_t token = 0; token < n_tokens; token += kBlockTokens) {
      multiply(size, n_tokens, weight, scratch.data() + token, values.data() + token);
    }
  }
}

}  // namespace

void to_channels(const Basis& basis,
                 size_t n_tokens,
                 std::span<int16_t> values,
                 std::vector<int16_t>& scratch) {
  for (const GivensPair& pair : basis.pairs) {
    turn<1>(pair, n_tokens, values);
  }
  if (!basis.matrices.empty()) {
    multiply_all(basis, false, n_tokens, values, scratch);
  }
}

void to_components(const Basis& basis,
                   size_t n_tokens,
                   std::span<int16_t> values,
                   std::vector<int16_t>& scratch) {
  for (auto pair = basis.pairs.rbegin(); pair != basis.pairs.rend(); ++pair) {
    turn<-1>(*pair, n_tokens, values);
  }
  if (!basis.matrices.empty()) {
    multiply_all(basis, true, n_tokens, values, scratch);
  }
}

void permute_basis(Basis& basis, std::span<const uint32_t> old_of) {
  std::vector<uint16_t> new_of(old_of.size());
  for (size_t i = 0; i < old_of.size(); ++i) {
    new_of[old_of[i]] = static_cast<uint16_t>(i);
  }
  for (GivensPair& pair : basis.pairs) {
    pair.first = new_of[pair.first];
    pair.second = new_of[pair.second];
  }
  const std::vector<int16_t> old = basis.matrices;
  const size_t size = basis.matrix_channels;
  for (size_t i = 0; i < old.size(); ++i) {
    const size_t group = i / (size * size) * size;  // its first channel
    const size_t component = old_of[group + i % size] - group;
    basis.matrices[i] = old[old_of[i / size] * size + component];
  }
}

}  // namespace sluice::codec
