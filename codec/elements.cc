#include "codec/elements.h"

#include <algorithm>
#include <bit>

namespace sluice::codec {
namespace {

// Channels that are transposed together: 16 x 2 bytes are half a cache line of each token.
constexpr size_t kTile = 16;

// Calls move(index in [channel][token], index in [token][channel]) for every element.
template <class Move>
void transpose(const LayerShape& shape, Move move) {
  for (size_t first = 0; first < shape.channels; first += kTile) {
    size_t last = std::min<size_t>(first + kTile, shape.channels);
    for (size_t token = 0; token < shape.n_tokens; ++token) {
      for (size_t channel = first; channel < last; ++channel) {
        move(channel * shape.n_tokens + token, token * shape.channels + channel);
      }
    }
  }
}

uint32_t widen(DType stored, uint16_t value) {
  return stored == DType::bf16 ? uint32_t{value} << 16 : widen_f16(value);
}

uint16_t narrow(DType stored, uint32_t bits) {
  return stored == DType::bf16 ? static_cast<uint16_t>(bits >> 16) : narrow_to_f16(bits);
}

}  // namespace

uint32_t widen_f16(uint16_t half) {
  uint32_t sign = (half & 0x8000u) << 16;
  uint32_t exponent = half >> 10 & 0x1fu;
  uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) {
    return sign | 0x7f800000u | mantissa << 13;
  }
  if (exponent == 0) {
    if (mantissa == 0) {
      return sign;
    }
    // A denormal is a normal f32: its leading one moves to bit 10 and becomes implicit.
    auto shift = static_cast<uint32_t>(std::countl_zero(mantissa)) - 21;
    exponent = 1 - shift;  // modulo 2^32, like the sum below
    mantissa = mantissa << shift & 0x3ffu;
  }
  return sign | (exponent + 112) << 23 | mantissa << 13;
}

uint16_t narrow_to_f16(uint32_t bits) {
  uint32_t sign = bits >> 16 & 0x8000u;
  uint32_t exponent = bits >> 23 & 0xffu;
  uint32_t mantissa = bits & 0x7fffffu;
  uint32_t magnitude = 0;
  if (exponent == 0xff) {
    magnitude = 0x7c00u | mantissa >> 13;
  } else if (exponent >= 143) {
    magnitude = 0x7c00u;  // beyond f16, as are those below 2^-24: not exact
  } else if (exponent >= 113) {
    magnitude = (exponent - 112) << 10 | mantissa >> 13;
  } else if (exponent >= 103) {
    magnitude = (mantissa | 0x800000u) >> (126 - exponent);
  }
  return static_cast<uint16_t>(sign | magnitude);
}

bool is_exactly(DType stored, ByteSpan f32_elements) {
  for (size_t at = 0; at < f32_elements.size(); at += 4) {
    auto bits = load_le<uint32_t>(f32_elements.data() + at);
    if (widen(stored, narrow(stored, bits)) != bits) {
      return false;
    }
  }
  return true;
}

void gather_layer(const LayerShape& shape,
                  const Kernels& kernels,
                  ByteSpan layer,
                  MutByteSpan rows) {
  const uint8_t* from = layer.data();
  uint8_t* to = rows.data();
  if (shape.dtype != DType::f32) {
    kernels.transpose(from, shape.n_tokens, shape.channels, to);
  } else if (shape.stored == DType::f32) {
    transpose(shape, [=](size_t ours, size_t theirs) {
      store_le(to + 4 * ours, load_le<uint32_t>(from + 4 * theirs));
    });
  } else {
    transpose(shape, [&](size_t ours, size_t theirs) {
      store_le(to + 2 * ours, narrow(shape.stored, load_le<uint32_t>(from + 4 * theirs)));
    });
  }
}

void scatter_layer(const LayerShape& shape,
                   const Kernels& kernels,
                   ByteSpan rows,
                   MutByteSpan layer) {
  const uint8_t* from = rows.data();
  uint8_t* to = layer.data();
  if (shape.dtype != DType::f32) {
    kernels.transpose(from, shape.channels, shape.n_tokens, to);
  } else if (shape.stored == DType::f32) {
    transpose(shape, [=](size_t ours, size_t theirs) {
      store_le(to + 4 * theirs, load_le<uint32_t>(from + 4 * ours));
    });
  } else {
    transpose(shape, [&](size_t ours, size_t theirs) {
      store_le(to + 4 * theirs, widen(shape.stored, load_le<uint16_t>(from + 2 * ours)));
    });
  }
}

}  // namespace sluice::codec
