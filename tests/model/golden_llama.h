// The model of the golden llama.cpp states, and others like it.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "src/model/manifest.h"

namespace sluice {

inline KvGroup group_of(std::vector<uint32_t> layers,
                        uint32_t window,
                        uint32_t heads,
                        uint32_t dim) {
  return {.attention = window == 0 ? AttentionKind::full : AttentionKind::window,
          .window = window,
          .layers = std::move(layers),
          .planes = {{PlaneRole::k, DType::f16, heads, dim, dim},
                     {PlaneRole::v, DType::f16, heads, dim, 0}},
          .rope = {.pairing = RopePairing::neox, .base = 10000}};
}

inline ModelManifest manifest_of(std::vector<KvGroup> groups) {
  ModelManifest manifest;
  manifest.architecture = "test";
  manifest.groups = std::move(groups);
  return manifest;
}

// The model of llama_state.json.
inline ModelManifest golden_model() {
  return manifest_of({group_of({2, 5}, 0, 2, 2), group_of({0, 1, 3}, 40, 2, 2)});
}

}  // namespace sluice
