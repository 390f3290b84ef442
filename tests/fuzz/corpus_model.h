// The model whose states the corpora of llama_state_parse and llama_slot_parse hold.
#pragma once

#include "src/model/manifest.h"

namespace sluice {

// Two full layers, three with a window, 2 heads of 2 dims.
inline ModelManifest corpus_model() {
  ModelManifest manifest;
  for (uint32_t window : {0u, 40u}) {
    KvGroup& group = manifest.groups.emplace_back();
    group.attention = window == 0 ? AttentionKind::full : AttentionKind::window;
    group.window = window;
    group.layers = window == 0 ? std::vector<uint32_t>{2, 5} : std::vector<uint32_t>{0, 1, 3};
    group.planes = {{PlaneRole::k, DType::f16, 2, 2, 2}, {PlaneRole::v, DType::f16, 2, 2, 0}};
  }
  return manifest;
}

}  // namespace sluice
