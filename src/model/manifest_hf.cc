// The architectures of transformers' config.json that we know. Source: configuration_*.py and
// modeling_rope_utils.py of transformers. Their keys are never permuted: pairs are half-split.
#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "src/base/limits.h"
#include "src/model/manifest.h"
#include "src/model/manifest_layers.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

// Which layers have config's sliding_window, where layer_types does not list them. unclear:
// versions of transformers differ, so a config that uses windows is refused.
enum class WindowRule { none, all, above_max_window_layers, pattern, unclear };

struct Architecture {
  std::string_view model_type;
  WindowRule rule = WindowRule::none;
  uint32_t pattern = 0;    // every pattern-th layer is full
  uint32_t head_dim = 0;   // 0: hidden_size / num_attention_heads
  double base = 10000;     // rope_theta where the file has none
  double window_base = 0;  // rope_local_base_freq; 0: as the full layers
  double rotated = 1;      // partial_rotary_factor where the file has none
};

constexpr auto kArchitectures = std::to_array<Architecture>({
    {.model_type = "llama"},
    {.model_type = "mistral", .rule = WindowRule::all},
    {.model_type = "mixtral", .rule = WindowRule::all, .base = 1'000'000},
    {.model_type = "starcoder2", .rule = WindowRule::all},
    {.model_type = "olmo"},
    {.model_type = "olmo2"},
    {.model_type = "olmoe"},
    {.model_type = "granite"},
    {.model_type = "granitemoe"},
    {.model_type = "phi", .rotated = 0.5},
    {.model_type = "stablelm", .rotated = 0.25},
    {.model_type = "phi3", .rule = WindowRule::all},
    {.model_type = "qwen2", .rule = WindowRule::above_max_window_layers},
    {.model_type = "qwen3", .rule = WindowRule::above_max_window_layers, .head_dim = 128},
    {.model_type = "qwen2_moe", .rule = WindowRule::unclear},
    {.model_type = "qwen3_moe", .rule = WindowRule::unclear},
    {.model_type = "gemma", .head_dim = 256},
    {.model_type = "gemma2", .rule = WindowRule::pattern, .pattern = 2, .head_dim = 256},
    {.model_type = "gemma3_text",
     .rule = WindowRule::pattern,
     .pattern = 6,
     .head_dim = 256,
     .base = 1'000'000,
     .window_base = 10'000},
});

// The member of an object that is there and not null.
const Json* find(const Json& object, const char* key) {
  auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Result<uint64_t> integer_or(const Json& object, const char* key, std::optional<uint64_t> fallback) {
  const Json* value = find(object, key);
  if (value == nullptr && fallback) {
    return *fallback;
  }
  if (value == nullptr || !value->is_number_unsigned() ||
      value->get<uint64_t>() > std::numeric_limits<int32_t>::max()) {
    return SLUICE_ERR(Errc::bad_value, "config.json: {} is no integer from 0 to 2^31", key);
  }
  return value->get<uint64_t>();
}

Result<double> number_or(const Json& object, const char* key, double fallback) {
  const Json* value = find(object, key);
  if (value == nullptr) {
    return fallback;
  }
  if (!value->is_number()) {
    return SLUICE_ERR(Errc::bad_value, "config.json: {} is no number", key);
  }
  return value->get<double>();
}

std::string text_or(const Json& object, const char* key, const std::string& fallback) {
  const Json* value = find(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : fallback;
}

Result<std::vector<float>> floats(const Json& object, const char* key) {
  std::vector<float> out;
  const Json* list = find(object, key);
  if (list == nullptr || !list->is_array()) {
    return SLUICE_ERR(Errc::bad_value, "config.json: {} is no list", key);
  }
  for (const Json& value : *list) {
    if (!value.is_number()) {
      return SLUICE_ERR(Errc::bad_value, "config.json: {} has an element that is no number", key);
    }
    out.push_back(value.get<float>());
  }
  return out;
}

// Where transformers looks for the RoPE of a kind of layer: rope_parameters, with or without a
// level by layer type, or else rope_scaling.
const Json& rope_object(const Json& config, const char* layer_type) {
  static const Json kNone = Json::object();
  const Json* object = find(config, "rope_parameters");
  if (object == nullptr) {
    object = find(config, "rope_scaling");
  }
  if (object == nullptr || !object->is_object()) {
    return kNone;
  }
  const Json* nested = find(*object, layer_type);
  return nested != nullptr && nested->is_object() ? *nested : *object;
}

Status read_scaling(const Json& config, const Json& object, Rope& rope) {
  std::string type = text_or(object, "rope_type", text_or(object, "type", "default"));
  if (type == "default") {
    return {};
  }
  SLUICE_TRY(uint64_t context, integer_or(config, "max_position_embeddings", std::nullopt));
  SLUICE_TRY(context, integer_or(config, "original_max_position_embeddings", context));
  SLUICE_TRY(context, integer_or(object, "original_max_position_embeddings", context));
  if (type != "longrope" && type != "su") {
    SLUICE_TRY(rope.factor, number_or(object, "factor", 0));
  }
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
    return {};
  }
  rope.original_context = static_cast<uint32_t>(context);
  if (type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    SLUICE_TRY(rope.low, number_or(object, "low_freq_factor", 0));
    SLUICE_TRY(rope.high, number_or(object, "high_freq_factor", 0));
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::yarn;
    SLUICE_TRY(rope.low, number_or(object, "beta_slow", 1));
    SLUICE_TRY(rope.high, number_or(object, "beta_fast", 32));
    SLUICE_TRY(rope.attention_factor, number_or(object, "attention_factor", 0));
  } else if (type == "longrope" || type == "su") {
    rope.scaling = RopeScaling::longrope;
    SLUICE_TRY(rope.factors, floats(object, "short_factor"));
    SLUICE_TRY(rope.factors_beyond, floats(object, "long_factor"));
    SLUICE_TRY(rope.attention_factor, number_or(object, "attention_factor", 0));
  } else {
    return SLUICE_ERR(Errc::unsupported,
                      "config.json: rope type '{}', known are default, linear, llama3, yarn, "
                      "longrope",
                      type);
  }
  return {};
}

Result<Rope> read_rope(const Json& config, const char* layer_type, double base) {
  const Json& object = rope_object(config, layer_type);
  Rope rope;
  rope.pairing = RopePairing::neox;
  SLUICE_TRY(rope.base, number_or(object, "rope_theta", base));
  SLUICE_CHECK(read_scaling(config, object, rope));
  return rope;
}

// RoPE of window layers: their own base and no scaling in configs from before rope_parameters.
Result<Rope> read_window_rope(const Json& config, const Architecture& known, const Rope& full) {
  if (known.window_base == 0) {
    return full;
  }
  SLUICE_TRY(double base, number_or(config, "rope_local_base_freq", known.window_base));
  if (find(config, "rope_parameters") != nullptr) {
    return read_rope(config, "sliding_attention", base);
  }
  Rope rope;
  rope.pairing = RopePairing::neox;
  rope.base = base;
  return rope;
}

// Whether each layer has the window, from layer_types. Errors: unsupported (another type).
Result<std::vector<bool>> listed_windows(const Json& types, size_t layers) {
  std::vector<bool> out;
  for (const Json& type : types) {
    bool window = type == "sliding_attention";
    if (!window && type != "full_attention") {
      return SLUICE_ERR(Errc::unsupported,
                        "config.json: layer type {}, known are full_attention and "
                        "sliding_attention",
                        type.is_string() ? type.get<std::string>() : "that is no text");
    }
    out.push_back(window);
  }
  if (out.size() != layers) {
    return SLUICE_ERR(
        Errc::bad_value, "config.json: {} layer_types for {} layers", out.size(), layers);
  }
  return out;
}

Result<std::vector<bool>> read_windows(const Json& config,
                                       const Architecture& known,
                                       size_t layers) {
  if (const Json* types = find(config, "layer_types"); types != nullptr && types->is_array()) {
    return listed_windows(*types, layers);
  }
  std::vector<bool> out(layers, known.rule == WindowRule::all);
  const Json* use = find(config, "use_sliding_window");
  bool used = use != nullptr && *use == true;
  if (known.rule == WindowRule::unclear && used) {
    return SLUICE_ERR(
        Errc::unsupported,
        "config.json: use_sliding_window without layer_types in model_type '{}'; save the "
        "config again with a transformers that lists them",
        known.model_type);
  }
  if (known.rule == WindowRule::above_max_window_layers) {
    SLUICE_TRY(uint64_t first, integer_or(config, "max_window_layers", 28));
    for (size_t i = first; i < layers; ++i) {
      out[i] = used;
    }
  }
  if (known.rule == WindowRule::pattern) {
    SLUICE_TRY(uint64_t pattern, integer_or(config, "sliding_window_pattern", known.pattern));
    for (size_t i = 0; i < layers && pattern != 0; ++i) {
      out[i] = (i + 1) % pattern != 0;
    }
  }
  return out;
}

Result<LayerShape> read_shape(const Json& config, const Architecture& known) {
  LayerShape shape;
  SLUICE_TRY(uint64_t hidden, integer_or(config, "hidden_size", std::nullopt));
  SLUICE_TRY(uint64_t heads, integer_or(config, "num_attention_heads", std::nullopt));
  SLUICE_TRY(shape.heads, integer_or(config, "num_key_value_heads", heads));
  if (heads == 0) {
    return SLUICE_ERR(Errc::bad_value, "config.json: num_attention_heads is 0");
  }
  uint64_t dim = known.head_dim != 0 ? known.head_dim : hidden / heads;
  SLUICE_TRY(shape.k_dim, integer_or(config, "head_dim", dim));
  shape.v_dim = shape.k_dim;
  SLUICE_TRY(double base, number_or(config, "rope_theta", known.base));
  SLUICE_TRY(shape.rope, read_rope(config, "full_attention", base));
  SLUICE_TRY(double part, number_or(config, "partial_rotary_factor", known.rotated));
  SLUICE_TRY(part, number_or(rope_object(config, "full_attention"), "partial_rotary_factor", part));
  if (!(part >= 0 && part <= 1)) {
    return SLUICE_ERR(Errc::bad_value, "config.json: partial_rotary_factor {} of 0..1", part);
  }
  shape.rotated_dims = static_cast<uint64_t>(static_cast<double>(shape.k_dim) * part);
  return shape;
}

Result<ModelManifest> read_config(const Json& config, const Architecture& known) {
  ModelManifest manifest;
  manifest.source = ManifestSource::hf_config;
  manifest.architecture = known.model_type;
  manifest.name = text_or(config, "_name_or_path", "");
  SLUICE_TRY(uint64_t context, integer_or(config, "max_position_embeddings", std::nullopt));
  manifest.context_tokens = static_cast<uint32_t>(context);
  SLUICE_TRY(uint64_t count, integer_or(config, "num_hidden_layers", std::nullopt));
  if (count == 0 || count > kLayersMax) {
    return SLUICE_ERR(Errc::bad_value, "config.json: {} layers, expected 1..{}", count, kLayersMax);
  }
  SLUICE_TRY(LayerShape shape, read_shape(config, known));
  SLUICE_TRY(Rope window_rope, read_window_rope(config, known, shape.rope));
  SLUICE_TRY(auto windowed, read_windows(config, known, count));
  SLUICE_TRY(uint64_t window, integer_or(config, "sliding_window", 0));
  std::vector<LayerShape> layers(count, shape);
  for (size_t i = 0; i < count; ++i) {
    if (windowed[i] && window != 0) {
      layers[i].window = static_cast<uint32_t>(window);
      layers[i].rope = window_rope;
    }
  }
  SLUICE_CHECK(add_layers(layers, manifest));
  return manifest;
}

}  // namespace

Result<ModelManifest> manifest_from_hf_config(std::string_view json) {
  Json config = Json::parse(json, nullptr, false);
  if (!config.is_object()) {
    return SLUICE_ERR(Errc::bad_value, "config.json: no JSON object");
  }
  std::string type = text_or(config, "model_type", "");
  const auto* known = std::find_if(kArchitectures.begin(),
                                   kArchitectures.end(),
                                   [&](const auto& a) { return a.model_type == type; });
  if (known == kArchitectures.end()) {
    return SLUICE_ERR(Errc::unsupported, "config.json: model_type '{}' is not known", type);
  }
  return read_config(config, *known);
}

}  // namespace sluice
