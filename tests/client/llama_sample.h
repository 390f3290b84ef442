// A small model for tests of llama.cpp states, and states of it with tensors of random bits.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "src/base/prng.h"
#include "src/model/llama_state.h"
#include "src/model/manifest.h"

namespace sluice::testing {

inline constexpr uint32_t kPage = 64;

inline std::vector<Plane> planes(uint32_t heads) {
  return {{.role = PlaneRole::k, .dtype = DType::f16, .heads = heads, .dim = 8, .rotated_dims = 8},
          {.role = PlaneRole::v, .dtype = DType::f16, .heads = heads, .dim = 8, .rotated_dims = 0}};
}

// Four layers; with a window, every second one has it.
inline ModelManifest manifest(uint32_t window) {
  const Rope rope{.pairing = RopePairing::neox, .base = 10000};
  ModelManifest out;
  out.architecture = "test";
  out.layers = 4;
  out.context_tokens = 1024;
  if (window == 0) {
    out.groups = {{.layers = {0, 1, 2, 3}, .planes = planes(2), .rope = rope}};
  } else {
    out.groups = {{.layers = {1, 3}, .planes = planes(2), .rope = rope},
                  {.attention = AttentionKind::window,
                   .window = window,
                   .layers = {0, 2},
                   .planes = planes(2),
                   .rope = rope}};
  }
  return out;
}

inline std::vector<uint32_t> tokens(size_t count) {
  std::vector<uint32_t> out(count);
  for (size_t i = 0; i < count; ++i) {
    out[i] = static_cast<uint32_t>(7 * i + 3);
  }
  return out;
}

// A state as llama.cpp would write it, with tensors of random bits.
inline Bytes random_blob(const LlamaLayout& layout, uint32_t n_tokens, uint64_t seed) {
  Bytes blob(llama_blob_bytes(layout, n_tokens));
  const LlamaState state = plan_llama_state(layout, n_tokens);
  EXPECT_TRUE(begin_llama_blob(layout, state, blob).has_value());
  Prng prng(seed);
  for (size_t c = 0; c < layout.caches.size(); ++c) {
    for (size_t l = 0; l < layout.caches[c].layers.size(); ++l) {
      const uint64_t bytes = state.caches[c].cells * 16ull * 2;  // 2 heads of 8 f16 elements
      for (uint64_t i = 0; i < bytes; ++i) {
        blob[state.caches[c].k_offset[l] + i] = static_cast<uint8_t>(prng.next());
        blob[state.caches[c].v_offset[l] + i] = static_cast<uint8_t>(prng.next());
      }
    }
  }
  return blob;
}

}  // namespace sluice::testing
