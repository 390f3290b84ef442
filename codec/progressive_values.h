// One layer of a plane between elements and what `progressive` codes of it, quantised components
// (FORMAT.md, "Values", "Basis" and "Rotation").
//
// Not entropy coding (progressive.h). Private to codec/. Integers only: every machine gives the
// same. No allocation beyond growing scratch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codec/codec.h"
#include "codec/elements.h"
#include "codec/profile.h"
#include "src/base/bytes.h"

namespace sluice::codec {

// cos and sin of every rotation of a profile at the positions of a page.
class PageTurns {
 public:
  // The tables stand in `scratch`, which must outlive this.
  PageTurns(const Profile& profile,
            uint64_t first_position,
            uint32_t n_tokens,
            std::vector<int32_t>& scratch);

  std::span<const int32_t> cosines(int rotation, size_t pair) const;
  std::span<const int32_t> sines(int rotation, size_t pair) const;

 private:
  size_t at(int rotation, size_t pair) const;

  size_t pairs_ = 0;
  size_t n_tokens_ = 0;
  std::span<const int32_t> table_;  // [rotation][pair][cos, sin][token]
};

// What turns the elements of one layer of a plane into coefficients.
struct LayerTransform {
  LayerShape shape;
  Plane plane;
  const PlaneModel& model;
  const PageTurns& turns;
  int rotation = kNotRotated;
  RopePairing pairing = RopePairing::none;
};

// Values of level q1. Tokens of a layer that travel exactly are marked with an energy above
// kEnergyMax. Shape: `quantised` is [component][token], 0 on marked tokens. `energies` has one a
// token, which may be marked before.
void quantise_layer(const LayerTransform& transform,
                    ByteSpan layer,
                    std::span<int16_t> quantised,
                    const Kernels& kernels,
                    std::span<uint32_t> energies,
                    LayerScratch& scratch);

// Shape: `quantised` is [component][token] of `level`, `elements` [channel][token] in
// transform.shape.stored. `scales`: whose offsets each component has.
void restore_layer(const LayerTransform& transform,
                   Level level,
                   std::span<const uint8_t> scales,
                   std::span<const int16_t> quantised,
                   const Kernels& kernels,
                   LayerScratch& scratch,
                   MutByteSpan elements);

}  // namespace sluice::codec
