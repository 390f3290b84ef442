// Components to channels and back (FORMAT.md, "Basis"), rows to columns. Included once for each
// target by vector_kernels.cc.
#if defined(SLUICE_CODEC_VECTOR_BASIS) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_CODEC_VECTOR_BASIS
#undef SLUICE_CODEC_VECTOR_BASIS
#else
#define SLUICE_CODEC_VECTOR_BASIS
#endif

#include <algorithm>

#include "codec/basis.h"
#include "codec/vector/lanes-inl.h"

HWY_BEFORE_NAMESPACE();

namespace sluice::codec::HWY_NAMESPACE {

// 8 rows of 16 columns, as 16 rows of 8.
HWY_INLINE void transpose_block(const uint8_t* in, size_t columns, uint8_t* out, size_t rows) {
  std::array<V16, 8> row;
  for (size_t i = 0; i < 8; ++i) {
    row[i] = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(in + 2 * i * columns));
  }
  const hn::FixedTag<uint64_t, 4> d64;
  std::array<V32, 8> two;
  for (size_t i = 0; i < 4; ++i) {  // rows 2i and 2i + 1
    two[2 * i] = hn::BitCast(d32, hn::InterleaveLower(d16, row[2 * i], row[2 * i + 1]));
    two[2 * i + 1] = hn::BitCast(d32, hn::InterleaveUpper(d16, row[2 * i], row[2 * i + 1]));
  }
  for (size_t upper = 0; upper < 2; ++upper) {  // columns 0-3 and 4-7 of each block
    const auto a = hn::BitCast(d64, hn::InterleaveLower(d32, two[upper], two[2 + upper]));
    const auto b = hn::BitCast(d64, hn::InterleaveUpper(d32, two[upper], two[2 + upper]));
    const auto c = hn::BitCast(d64, hn::InterleaveLower(d32, two[4 + upper], two[6 + upper]));
    const auto d = hn::BitCast(d64, hn::InterleaveUpper(d32, two[4 + upper], two[6 + upper]));
    const std::array<hn::Vec<decltype(d64)>, 4> whole{hn::InterleaveLower(d64, a, c),
                                                      hn::InterleaveUpper(d64, a, c),
                                                      hn::InterleaveLower(d64, b, d),
                                                      hn::InterleaveUpper(d64, b, d)};
    for (size_t i = 0; i < 4; ++i) {
      const hn::FixedTag<uint64_t, 2> d_half;
      const size_t column = 4 * upper + i;
      hn::StoreU(hn::LowerHalf(d_half, whole[i]),
                 d_half,
                 reinterpret_cast<uint64_t*>(out + 2 * column * rows));
      hn::StoreU(hn::UpperHalf(d_half, whole[i]),
                 d_half,
                 reinterpret_cast<uint64_t*>(out + 2 * (column + 8) * rows));
    }
  }
}

inline void transpose(const uint8_t* in, size_t rows, size_t columns, uint8_t* out) {
  const size_t whole_rows = rows / 8 * 8, whole_columns = columns / 16 * 16;
  for (size_t column = 0; column < whole_columns; column += 16) {
    for (size_t row = 0; row < whole_rows; row += 8) {
      transpose_block(
          in + 2 * (row * columns + column), columns, out + 2 * (column * rows + row), rows);
    }
  }
  const auto move = [&](size_t row, size_t column) {
    store_le(out + 2 * (column * rows + row), load_le<uint16_t>(in + 2 * (row * columns + column)));
  };
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = row < whole_rows ? whole_columns : 0; column < columns; ++column) {
      move(row, column);
    }
  }
}

// kSign: -1 turns back.
template <int kSign>
HWY_INLINE void turn(const GivensPair& pair, size_t n_tokens, int16_t* values) {
  int16_t* first = values + pair.first * n_tokens;
  int16_t* second = values + pair.second * n_tokens;
  const VI16 cosine = hn::Set(di16, pair.cosine), sine = hn::Set(di16, pair.sine);
  const auto turn_16 = [&](size_t token) HWY_ATTR {
    const VI16 x = hn::LoadU(di16, first + token), y = hn::LoadU(di16, second + token);
    const VI16 x_cosine = hn::MulFixedPoint15(x, cosine), y_cosine = hn::MulFixedPoint15(y, cosine);
    const VI16 x_sine = hn::MulFixedPoint15(x, sine), y_sine = hn::MulFixedPoint15(y, sine);
    const VI16 new_x = kSign > 0 ? hn::Sub(x_cosine, y_sine) : hn::Add(x_cosine, y_sine);
    const VI16 new_y = kSign > 0 ? hn::Add(y_cosine, x_sine) : hn::Sub(y_cosine, x_sine);
    hn::StoreU(new_x, di16, first + token);
    hn::StoreU(new_y, di16, second + token);
  };
  for (size_t token = 0; token < n_tokens; token += kLanes) {
    turn_16(token);
    turn_16(token + 16);
  }
}

// Four rows of a product with one matrix, 16 tokens. `in` has coefficients of channels 2k and 2k +
// 1 in turn, [k][token][2], tokens so that pair order of the results is memory order. Four rows to
// two vectors, so that there are fewer loads than products. Bare registers: GCC 12 copies or stores
// sums of Highway's types at each turn, which takes twice as long.
HWY_INLINE void multiply_four_rows(
    size_t channels, const int16_t* weights, const int16_t* in, int16_t* out, size_t n_tokens) {
  const __m256i half = _mm256_set1_epi32(1 << 14);
  __m256i a0 = half, a1 = half, b0 = half, b1 = half, c0 = half, c1 = half, d0 = half, d1 = half;
  const auto weight = [&](size_t row, size_t k) HWY_ATTR {
    const int16_t* at = weights + row * channels + k;
    return _mm256_set1_epi32(
        static_cast<int32_t>(load_le<uint32_t>(reinterpret_cast<const uint8_t*>(at))));
  };
  for (size_t k = 0; k < channels; k += 2, in += 2 * kLanes) {
    const __m256i first = _mm256_load_si256(reinterpret_cast<const __m256i*>(in));
    const __m256i second = _mm256_load_si256(reinterpret_cast<const __m256i*>(in + 16));
    const __m256i a = weight(0, k), b = weight(1, k), c = weight(2, k), d = weight(3, k);
    a0 = _mm256_add_epi32(a0, _mm256_madd_epi16(first, a));
    a1 = _mm256_add_epi32(a1, _mm256_madd_epi16(second, a));
    b0 = _mm256_add_epi32(b0, _mm256_madd_epi16(first, b));
    b1 = _mm256_add_epi32(b1, _mm256_madd_epi16(second, b));
    c0 = _mm256_add_epi32(c0, _mm256_madd_epi16(first, c));
    c1 = _mm256_add_epi32(c1, _mm256_madd_epi16(second, c));
    d0 = _mm256_add_epi32(d0, _mm256_madd_epi16(first, d));
    d1 = _mm256_add_epi32(d1, _mm256_madd_epi16(second, d));
  }
  const auto store = [](__m256i first, __m256i second, int16_t* to) HWY_ATTR {
    // Modulo 2^16, so the lower halves.
    const __m256i low = _mm256_set1_epi32(0xffff);
    const __m256i x = _mm256_and_si256(_mm256_srai_epi32(first, 15), low);
    const __m256i y = _mm256_and_si256(_mm256_srai_epi32(second, 15), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_packus_epi32(x, y));
  };
  store(a0, a1, out);
  store(b0, b1, out + n_tokens);
  store(c0, c1, out + 2 * n_tokens);
  store(d0, d1, out + 3 * n_tokens);
}

// 32 tokens of all channels, two channels in turn.
HWY_INLINE void interleave_channels(size_t channels,
                                    const int16_t* values,
                                    size_t n_tokens,
                                    int16_t* to) {
  for (size_t k = 0; k < channels; k += 2) {
    for (size_t half = 0; half < 2; ++half, to += kLanes) {
      const int16_t* at = values + k * n_tokens + 16 * half;
      const VI16 first = hn::LoadU(di16, at), second = hn::LoadU(di16, at + n_tokens);
      hn::Store(hn::InterleaveLower(di16, first, second), di16, to);
      hn::Store(hn::InterleaveUpper(di16, first, second), di16, to + 16);
    }
  }
}

constexpr size_t kAlign = 32 / sizeof(int16_t);

// Tokens that one pass over a matrix serves: it comes from a cache further away than they do.
constexpr size_t kTokensAtOnce = 64;

constexpr size_t scratch_of(size_t matrix_channels) {
  return matrix_channels * kTokensAtOnce + kAlign;
}

// Every matrix, of rows by columns.
inline void multiply_all(std::span<const int16_t> matrices,
                         size_t size,
                         size_t n_tokens,
                         std::span<int16_t> values,
                         std::vector<int16_t>& scratch) {
  scratch.resize(std::max(scratch.size(), scratch_of(size)));
  const size_t misaligned = reinterpret_cast<uintptr_t>(scratch.data()) % 32 / sizeof(int16_t);
  int16_t* in = scratch.data() + (kAlign - misaligned) % kAlign;
  const int16_t* matrix = matrices.data();
  for (; !values.empty(); values = values.subspan(size * n_tokens), matrix += size * size) {
    for (size_t token = 0; token < n_tokens; token += kTokensAtOnce) {
      const size_t blocks = std::min(kTokensAtOnce, n_tokens - token) / kLanes;
      for (size_t block = 0; block < blocks; ++block) {
        const int16_t* from = values.data() + token + block * kLanes;
        interleave_channels(size, from, n_tokens, in + block * size * kLanes);
      }
      for (size_t row = 0; row < size; row += 4) {
        for (size_t block = 0; block < blocks; ++block) {
          const int16_t* weights = matrix + row * size;
          const int16_t* from = in + block * size * kLanes;
          int16_t* out = values.data() + row * n_tokens + token + block * kLanes;
          multiply_four_rows(size, weights, from, out, n_tokens);
          multiply_four_rows(size, weights, from + kLanes, out + 16, n_tokens);
        }
      }
    }
  }
}

inline void to_channels(const Basis& basis,
                        size_t n_tokens,
                        std::span<int16_t> values,
                        std::vector<int16_t>& scratch) {
  if (basis.matrix_channels % 4 != 0) {
    sluice::codec::to_channels(basis, n_tokens, values, scratch);
    return;
  }
  for (const GivensPair& pair : basis.pairs) {
    turn<1>(pair, n_tokens, values.data());
  }
  if (!basis.matrices.empty()) {
    multiply_all(basis.matrices, basis.matrix_channels, n_tokens, values, scratch);
  }
}

inline void to_components(const Basis& basis,
                          size_t n_tokens,
                          std::span<int16_t> values,
                          std::vector<int16_t>& scratch) {
  const size_t size = basis.matrix_channels;
  if (size % 4 != 0) {
    sluice::codec::to_components(basis, n_tokens, values, scratch);
    return;
  }
  for (auto pair = basis.pairs.rbegin(); pair != basis.pairs.rend(); ++pair) {
    turn<-1>(*pair, n_tokens, values.data());
  }
  if (basis.matrices.empty()) {
    return;
  }
  // Rows of the transposed matrix, which lie behind what multiply_all needs.
  const size_t kept = scratch_of(size);
  scratch.resize(std::max(scratch.size(), kept + size * size));
  const int16_t* matrix = basis.matrices.data();
  for (; !values.empty(); values = values.subspan(size * n_tokens), matrix += size * size) {
    const std::span<int16_t> turned(scratch.data() + kept, size * size);
    transpose(reinterpret_cast<const uint8_t*>(matrix),
              size,
              size,
              reinterpret_cast<uint8_t*>(turned.data()));
    multiply_all(turned, size, n_tokens, values.first(size * n_tokens), scratch);
  }
}

}  // namespace sluice::codec::HWY_NAMESPACE

HWY_AFTER_NAMESPACE();

#endif
