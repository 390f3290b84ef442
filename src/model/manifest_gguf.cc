// The architectures of GGUF files that we know. Source: llama.cpp, load_hparams of each model and
// llama_model_rope_type.
#include <algorithm>
#include <array>
#include <limits>

#include "src/base/limits.h"
#include "src/model/manifest.h"
#include "src/model/manifest_layers.h"

namespace sluice {
namespace {

struct Architecture {
  std::string_view name;
  RopePairing pairing;     // LLaMA's converter permutes K for interleaved pairs
  bool windows = false;    // layers have a window where a pattern says so
  uint32_t window = 0;     // tokens, unless the file says otherwise; 0: none then
  uint32_t pattern = 0;    // every pattern-th layer is full
  double window_base = 0;  // RoPE base of window layers; 0: as the full ones, scaling included
  bool all_dims_rotated = false;
};

// phi3 files may name a window; llama.cpp does not apply it.
constexpr auto kArchitectures = std::to_array<Architecture>({
    {.name = "llama", .pairing = RopePairing::interleaved, .all_dims_rotated = true},
    {.name = "qwen2", .pairing = RopePairing::neox},
    {.name = "qwen3", .pairing = RopePairing::neox},
    {.name = "phi3", .pairing = RopePairing::neox},
    {.name = "gemma", .pairing = RopePairing::neox},
    {.name = "gemma2", .pairing = RopePairing::neox, .windows = true, .window = 4096, .pattern = 2},
    {.name = "gemma3",
     .pairing = RopePairing::neox,
     .windows = true,
     .pattern = 6,
     .window_base = 10000},
});

// Reads the keys of one architecture: "llama.block_count" is integer("block_count").
class Keys {
 public:
  Keys(const Gguf& gguf, std::string_view architecture)
      : gguf_(gguf), prefix_(std::string(architecture) + ".") {}

  Result<uint64_t> integer(std::string_view key) const { return gguf_.integer(full(key)); }

  Result<uint64_t> integer_or(std::string_view key, uint64_t fallback) const {
    return has(key) ? integer(key) : fallback;
  }

  Result<double> number_or(std::string_view key, double fallback) const {
    return has(key) ? gguf_.number(full(key)) : fallback;
  }

  Result<std::string> text_or(std::string_view key, std::string fallback) const {
    return has(key) ? gguf_.text(full(key)) : std::move(fallback);
  }

  Result<std::vector<uint64_t>> integers(std::string_view key, size_t count) const {
    return gguf_.integers(full(key), count);
  }

  bool has(std::string_view key) const { return gguf_.has(full(key)); }

  std::string full(std::string_view key) const { return prefix_ + std::string(key); }

 private:
  const Gguf& gguf_;
  std::string prefix_;
};

// A token count that later arithmetic keeps in 32 bits.
Result<uint32_t> token_count(const Keys& keys, std::string_view key, uint64_t fallback) {
  SLUICE_TRY(uint64_t value, keys.integer_or(key, fallback));
  if (value > std::numeric_limits<int32_t>::max()) {
    return SLUICE_ERR(Errc::bad_value, "gguf: key {} is {}", keys.full(key), value);
  }
  return static_cast<uint32_t>(value);
}

std::vector<float> small_tensor(const Gguf& gguf, std::string_view name) {
  auto it = gguf.small.find(name);
  return it == gguf.small.end() ? std::vector<float>{} : it->second;
}

Status read_yarn(const Keys& keys, Rope& rope) {
  rope.scaling = RopeScaling::yarn;
  SLUICE_TRY(rope.low, keys.number_or("rope.scaling.yarn_beta_slow", 1));
  SLUICE_TRY(rope.high, keys.number_or("rope.scaling.yarn_beta_fast", 32));
  SLUICE_TRY(rope.attention_factor, keys.number_or("rope.scaling.attn_factor", 1));
  return {};
}

Status read_longrope(const Gguf& gguf, const Keys& keys, Rope& rope) {
  rope.scaling = RopeScaling::longrope;
  rope.factors = small_tensor(gguf, "rope_factors_short.weight");
  rope.factors_beyond = small_tensor(gguf, "rope_factors_long.weight");
  SLUICE_TRY(rope.attention_factor, keys.number_or("rope.scaling.attn_factor", 1));
  return {};
}

// The scaling named by rope.scaling.type, or by a tensor of divisors.
Status read_scaling(const Gguf& gguf, const Keys& keys, uint32_t context, Rope& rope) {
  SLUICE_TRY(std::string type, keys.text_or("rope.scaling.type", "linear"));
  SLUICE_TRY(double linear, keys.number_or("rope.scale_linear", 1));
  SLUICE_TRY(double factor, keys.number_or("rope.scaling.factor", linear));
  SLUICE_TRY(uint32_t original, token_count(keys, "rope.scaling.original_context_length", context));
  bool has_factor = factor != 0 && factor != 1;
  if (gguf.small.count("rope_factors_short.weight") != 0) {
    SLUICE_CHECK(read_longrope(gguf, keys, rope));
    rope.original_context = original;
  } else if (gguf.small.count("rope_freqs.weight") != 0) {
    rope.scaling = RopeScaling::llama3;
    rope.factors = small_tensor(gguf, "rope_freqs.weight");
  } else if (type == "yarn" && has_factor) {
    SLUICE_CHECK(read_yarn(keys, rope));
    rope.factor = factor;
    rope.original_context = original;
  } else if (type == "linear" && has_factor) {
    rope.scaling = RopeScaling::linear;
    rope.factor = factor;
  } else if (type != "linear" && type != "none" && type != "yarn") {
    return SLUICE_ERR(Errc::unsupported,
                      "gguf: {} is '{}', known are none, linear, yarn, and tensors of factors",
                      keys.full("rope.scaling.type"),
                      type);
  }
  return {};
}

// Tokens of each layer's window, 0 for full attention.
Result<std::vector<uint32_t>> read_windows(const Keys& keys,
                                           const Architecture& known,
                                           size_t layers) {
  std::vector<uint32_t> windows(layers);
  if (!known.windows) {
    return windows;
  }
  SLUICE_TRY(uint32_t window, token_count(keys, "attention.sliding_window", known.window));
  constexpr std::string_view kPattern = "attention.sliding_window_pattern";
  // A number is the period, an array says it layer by layer.
  std::vector<uint64_t> listed;
  uint64_t period = known.pattern;
  if (keys.has(kPattern) && keys.integer(kPattern).has_error()) {
    SLUICE_TRY(listed, keys.integers(kPattern, layers));
  } else {
    SLUICE_TRY(period, keys.integer_or(kPattern, period));
  }
  for (size_t i = 0; i < layers; ++i) {
    bool full = listed.empty() ? period != 0 && i % period == period - 1 : listed[i] == 0;
    windows[i] = full ? 0 : window;
  }
  return windows;
}

Result<LayerShape> read_shape(const Keys& keys, const Architecture& known, uint64_t heads) {
  SLUICE_TRY(uint64_t width, keys.integer("embedding_length"));
  if (heads == 0) {
    return SLUICE_ERR(Errc::bad_value, "gguf: {} is 0", keys.full("attention.head_count"));
  }
  LayerShape shape;
  SLUICE_TRY(shape.k_dim, keys.integer_or("attention.key_length", width / heads));
  SLUICE_TRY(shape.v_dim, keys.integer_or("attention.value_length", width / heads));
  SLUICE_TRY(shape.rotated_dims, keys.integer_or("rope.dimension_count", shape.k_dim));
  if (known.all_dims_rotated && shape.rotated_dims != shape.k_dim) {
    return SLUICE_ERR(Errc::unsupported,
                      "gguf: {} of {} dims are rotated, llama.cpp takes all or refuses",
                      shape.rotated_dims,
                      shape.k_dim);
  }
  return shape;
}

Status check_whole(const Gguf& gguf, const Keys& keys) {
  SLUICE_TRY(uint64_t parts, gguf.has("split.count") ? gguf.integer("split.count") : 1);
  if (parts > 1) {
    return SLUICE_ERR(Errc::unsupported,
                      "gguf: part of {} files; merge them with llama-gguf-split --merge",
                      parts);
  }
  auto causal = gguf.metadata.find(keys.full("attention.causal"));
  if (causal != gguf.metadata.end() && causal->second == GgufValue(false)) {
    return SLUICE_ERR(Errc::unsupported,
                      "gguf: attention is not causal: a prefix does not decide its KV");
  }
  return {};
}

Result<std::vector<LayerShape>> read_layers(const Gguf& gguf,
                                            const Keys& keys,
                                            const Architecture& known,
                                            uint32_t context) {
  SLUICE_TRY(uint64_t count, keys.integer("block_count"));
  if (count == 0 || count > kLayersMax) {
    return SLUICE_ERR(Errc::bad_value, "gguf: {} layers, expected 1..{}", count, kLayersMax);
  }
  SLUICE_TRY(auto heads, keys.integers("attention.head_count", count));
  std::vector<uint64_t> kv_heads = heads;
  if (keys.has("attention.head_count_kv")) {
    SLUICE_TRY(kv_heads, keys.integers("attention.head_count_kv", count));
  }
  SLUICE_TRY(LayerShape shape, read_shape(keys, known, heads[0]));
  shape.rope.pairing = known.pairing;
  SLUICE_TRY(shape.rope.base, keys.number_or("rope.freq_base", 10000));
  Rope window_rope = shape.rope;
  SLUICE_CHECK(read_scaling(gguf, keys, context, shape.rope));
  if (known.window_base == 0) {
    window_rope = shape.rope;
  } else {
    SLUICE_TRY(window_rope.base, keys.number_or("rope.freq_base_swa", known.window_base));
  }
  SLUICE_TRY(auto windows, read_windows(keys, known, count));
  std::vector<LayerShape> layers(count, shape);
  for (size_t i = 0; i < count; ++i) {
    layers[i].heads = kv_heads[i];
    layers[i].window = windows[i];
    layers[i].rope = windows[i] == 0 ? shape.rope : window_rope;
  }
  return layers;
}

}  // namespace

Result<ModelManifest> manifest_from_gguf(const Gguf& gguf) {
  ModelManifest manifest;
  manifest.source = ManifestSource::gguf;
  SLUICE_TRY(manifest.architecture, gguf.text("general.architecture"));
  const auto* known = std::find_if(kArchitectures.begin(),
                                   kArchitectures.end(),
                                   [&](const auto& a) { return a.name == manifest.architecture; });
  if (known == kArchitectures.end()) {
    return SLUICE_ERR(Errc::unsupported,
                      "gguf: architecture '{}' is not known: how its layers attend and turn is not "
                      "in the file",
                      manifest.architecture);
  }
  if (gguf.has("general.name")) {
    SLUICE_TRY(manifest.name, gguf.text("general.name"));
  }
  Keys keys(gguf, manifest.architecture);
  SLUICE_CHECK(check_whole(gguf, keys));
  SLUICE_CHECK(keys.integer("context_length"));
  SLUICE_TRY(manifest.context_tokens, token_count(keys, "context_length", 0));
  SLUICE_TRY(auto layers, read_layers(gguf, keys, *known, manifest.context_tokens));
  SLUICE_CHECK(add_layers(layers, manifest));
  return manifest;
}

}  // namespace sluice
