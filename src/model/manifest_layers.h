// From what a model file says of each layer to KV groups. Internal to manifest*.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/model/manifest.h"

namespace sluice {

// One transformer layer, as its file describes it.
struct LayerShape {
  uint32_t window = 0;  // 0: full attention
  uint64_t heads = 0;   // kv heads
  uint64_t k_dim = 0;
  uint64_t v_dim = 0;
  uint64_t rotated_dims = 0;
  Rope rope;

  bool operator==(const LayerShape&) const = default;
};

// Fills manifest.layers and manifest.groups. Errors: bad_value, too_large (shapes that
// PageGeometry::validate refuses for one token).
Status add_layers(const std::vector<LayerShape>& layers, ModelManifest& manifest);

}  // namespace sluice
