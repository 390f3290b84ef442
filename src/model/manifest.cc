#include "src/model/manifest.h"

#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "src/base/limits.h"
#include "src/model/file_reader.h"
#include "src/model/manifest_layers.h"

namespace sluice {
namespace {

constexpr uint64_t kConfigBytesMax = uint64_t{16} << 20;
constexpr uint64_t kWidthMax = 1u << 20;  // heads, or dims of a head

KvGroup make_group(const LayerShape& shape) {
  KvGroup group;
  group.attention = shape.window == 0 ? AttentionKind::full : AttentionKind::window;
  group.window = shape.window;
  auto heads = static_cast<uint32_t>(shape.heads);
  group.planes = {
      {.role = PlaneRole::k,
       .heads = heads,
       .dim = static_cast<uint32_t>(shape.k_dim),
       .rotated_dims = static_cast<uint32_t>(shape.rotated_dims)},
      {.role = PlaneRole::v, .heads = heads, .dim = static_cast<uint32_t>(shape.v_dim)}};
  group.rope = shape.rope;
  return group;
}

Status check_shape(const LayerShape& shape, size_t layer) {
  uint64_t widest = std::max({shape.heads, shape.k_dim, shape.v_dim, shape.rotated_dims});
  if (widest > kWidthMax) {
    return SLUICE_ERR(Errc::too_large, "layer {}: {} heads or dims", layer, widest);
  }
  SLUICE_CHECK(validate(shape.rope));
  PageGeometry one_token = {.planes = make_group(shape).planes, .layers = 1, .n_tokens = 1};
  return one_token.validate();
}

nlohmann::ordered_json rope_json(const Rope& rope) {
  nlohmann::ordered_json out = {{"pairing", pairing_name(rope.pairing)},
                                {"base", rope.base},
                                {"scaling", scaling_name(rope.scaling)}};
  if (rope.scaling != RopeScaling::none) {
    out["factor"] = rope.factor;
    out["original_context"] = rope.original_context;
    out["low"] = rope.low;
    out["high"] = rope.high;
    out["attention_factor"] = rope.attention_factor;
    out["factors"] = rope.factors;
    out["factors_beyond"] = rope.factors_beyond;
  }
  return out;
}

nlohmann::ordered_json group_json(const KvGroup& group) {
  nlohmann::ordered_json planes = nlohmann::ordered_json::array();
  for (const Plane& plane : group.planes) {
    planes.push_back({{"role", role_name(plane.role)},
                      {"heads", plane.heads},
                      {"dim", plane.dim},
                      {"rotated_dims", plane.rotated_dims}});
  }
  return {{"attention", group.attention == AttentionKind::full ? "full" : "window"},
          {"window", group.window},
          {"layers", group.layers},
          {"planes", planes},
          {"rope", rope_json(group.rope)}};
}

Result<std::string> read_text(const std::string& path) {
  SLUICE_TRY(FileReader file, FileReader::open(path));
  if (file.identity().bytes > kConfigBytesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "{} has {} bytes, at most {}",
                      path,
                      file.identity().bytes,
                      kConfigBytesMax);
  }
  Bytes raw(file.identity().bytes);
  SLUICE_CHECK(file.read_at(0, raw));
  return std::string(raw.begin(), raw.end());
}

}  // namespace

Status add_layers(const std::vector<LayerShape>& layers, ModelManifest& manifest) {
  if (layers.empty() || layers.size() > kLayersMax) {
    return SLUICE_ERR(Errc::bad_value, "{} layers, expected 1..{}", layers.size(), kLayersMax);
  }
  manifest.layers = static_cast<uint32_t>(layers.size());
  std::vector<KvGroup>& groups = manifest.groups;
  std::vector<LayerShape> shapes;  // of each group
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    auto at = std::find(shapes.begin(), shapes.end(), layers[layer]);
    if (at == shapes.end()) {
      SLUICE_CHECK(check_shape(layers[layer], layer));
      groups.push_back(make_group(layers[layer]));
      at = shapes.insert(shapes.end(), layers[layer]);
    }
    groups[static_cast<size_t>(at - shapes.begin())].layers.push_back(static_cast<uint32_t>(layer));
  }
  std::sort(groups.begin(), groups.end(), [](const KvGroup& a, const KvGroup& b) {
    return std::pair(a.attention, a.layers[0]) < std::pair(b.attention, b.layers[0]);
  });
  return {};
}

std::string ModelManifest::to_json() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const KvGroup& group : groups) {
    list.push_back(group_json(group));
  }
  nlohmann::ordered_json out = {{"source", source == ManifestSource::gguf ? "gguf" : "hf_config"},
                                {"architecture", architecture},
                                {"name", name},
                                {"layers", layers},
                                {"context_tokens", context_tokens},
                                {"groups", list}};
  // A name that is no UTF-8 must not throw.
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Result<ModelManifest> read_manifest(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    SLUICE_TRY(std::string json, read_text(path + "/config.json"));
    return manifest_from_hf_config(json);
  }
  SLUICE_TRY(Gguf gguf, read_gguf(path));
  return manifest_from_gguf(gguf);
}

}  // namespace sluice
