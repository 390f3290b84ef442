#include "tests/codec/edge_profile.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "codec/elements.h"
#include "codec/profile_layout.h"
#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace sluice::codec {
namespace {

using namespace profile_layout;

struct EdgeBlock {
  BasisKind basis;
  uint32_t heads;  // that a matrix covers
  uint32_t finer;
  int exponent;
  int least_shift;  // channels have this one and the four above
  int mean_below;   // of either sign
};

// [layer][k, v]. The exponents: -6, where f16 saturates; 26, where it is denormal; 126, where
// it is zero and steps are as narrow as they can be; -64, where they are as wide as they can be.
constexpr std::array<std::array<EdgeBlock, 2>, 4> kBlocks = {{
    {{{kIdentity, 0, 0, 10, 12, 4096}, {kGivens, 0, 4, 12, 18, 1 << 15}}},
    {{{kMatrices, 2, 2, 11, 12, 4096}, {kMatrices, 2, 1, -6, 12, 64}}},
    {{{kGivens, 0, 3, 26, 16, 1024}, {kIdentity, 0, 2, 126, 20, 0}}},
    {{{kMatrices, 1, 4, -64, 8, 0}, {kMatrices, 1, 2, 10, 14, 1 << 13}}},
}};
constexpr uint32_t kNarrowLayer = 0;  // KV there is narrower than its profile says
constexpr uint32_t kZeroLayer = 2;    // of values
constexpr uint32_t kWidestLayer = 3;  // of keys

void fill_block(PlaneModel& model, const EdgeBlock& block, uint32_t dim, uint64_t seed) {
  Prng prng(seed);
  model.exponent = block.exponent;
  model.step_bits = 3 + block.finer;
  for (size_t c = 0; c < model.channels.size(); ++c) {
    ChannelModel& channel = model.channels[c];
    channel.mean =
        static_cast<int32_t>(prng.below(static_cast<uint64_t>(2 * block.mean_below + 1))) -
        block.mean_below;
    channel.shift = static_cast<uint8_t>(block.least_shift + static_cast<int>(prng.below(5)));
    channel.scale = static_cast<uint8_t>(c % 8 == 0 ? c / 8 % 2 : 8 + prng.below(12));
    if (c % 5 == 0) {
      channel.mantissa = c % 2 == 0 ? 23169 : 23170;
    }
  }
  if (block.basis != kIdentity) {
    add_basis(model, block.basis, block.heads * dim, prng);
  }
}

// Finite, and where the profile asks for what f16 has not, something small.
uint16_t f16_of(uint16_t bits, bool small, Prng& prng) {
  const bool is_finite = (bits & 0x7c00) != 0x7c00;
  const auto sign = static_cast<uint16_t>(prng.below(2) << 15);
  return static_cast<uint16_t>(small       ? sign | prng.below(0x3800)
                               : is_finite ? bits
                                           : sign | (0x7bff - prng.below(64)));
}

}  // namespace

PageGeometry edge_geometry(DType dtype) {
  Plane k{.role = PlaneRole::k, .dtype = dtype, .heads = 4, .dim = 8, .rotated_dims = 4};
  Plane v{.role = PlaneRole::v, .dtype = dtype, .heads = 4, .dim = 6, .rotated_dims = 0};
  return {.planes = {k, v}, .layers = 4, .n_tokens = 32};
}

Profile edge_profile() {
  const PageGeometry geometry = edge_geometry(DType::f16);
  Profile profile = sample_profile(geometry, RopePairing::neox, 3);
  profile.rows = {{Level::q3, 30000}, {Level::q2, 3000}, {Level::q1, 300}};
  // Layers with a window rotate at another base, or not at all.
  profile.frequencies.push_back({uint64_t{1} << 62, uint64_t{0x28be60db9391054a}});
  constexpr std::array kLayerRotations = {0, kNotRotated, 1, 1};
  for (uint32_t l = 0; l < geometry.layers; ++l) {
    profile.layers[l].rotation = kLayerRotations[l];
    for (size_t p = 0; p < geometry.planes.size(); ++p) {
      fill_block(profile.layers[l].planes[p], kBlocks[l][p], geometry.planes[p].dim, 2 * l + p);
    }
  }
  return profile;
}

Profile hostile_profile() {
  Profile profile = edge_profile();
  Prng prng(8);
  const auto factor = [&] {
    return static_cast<int16_t>(static_cast<int>(prng.below(65535)) - 32767);
  };
  for (LayerModel& layer : profile.layers) {
    Basis& basis = layer.planes[1].basis;
    for (GivensPair& pair : basis.pairs) {
      pair.cosine = factor();
      pair.sine = factor();
    }
    std::generate(basis.matrices.begin(), basis.matrices.end(), factor);
  }
  return profile;
}

Bytes edge_tensors(const Profile& profile, DType dtype, uint64_t first_position) {
  Profile distribution = profile;
  for (PlaneModel& plane : distribution.layers[kNarrowLayer].planes) {
    for (ChannelModel& channel : plane.channels) {
      channel.scale = static_cast<uint8_t>(channel.scale - std::min<int>(channel.scale, 5));
    }
  }
  PageGeometry geometry = edge_geometry(DType::f16);
  Bytes halves = tensors_of(distribution, geometry, first_position, 21);
  Prng prng(5);
  for (uint32_t l = 0; l < geometry.layers; ++l) {
    for (size_t p = 0; p < geometry.planes.size(); ++p) {
      uint8_t* at = halves.data() + geometry.offset_bytes(l, p);
      for (size_t i = 0; i < geometry.plane_bytes(p); i += 2) {
        const auto bits = f16_of(load_le<uint16_t>(at + i), l == kWidestLayer && p == 0, prng);
        store_le(at + i, l == kZeroLayer && p == 1 ? uint16_t{0} : bits);
      }
    }
  }
  if (dtype == DType::f16) {
    return halves;
  }
  Bytes wide(2 * halves.size());
  for (size_t i = 0; i < halves.size(); i += 2) {
    store_le(wide.data() + 2 * i, widen_f16(load_le<uint16_t>(halves.data() + i)));
  }
  return wide;
}

}  // namespace sluice::codec
