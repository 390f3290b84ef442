// Which layer of which KV group stands where in a llama.cpp context (llama_state.h).
#include <algorithm>
#include <array>
#include <utility>

#include "src/model/llama_state.h"

namespace sluice {
namespace {

// Cache types of llama.cpp, for the text that refuses those we do not take.
constexpr auto kQuantised = std::to_array<std::pair<uint32_t, std::string_view>>({
    {2, "q4_0"},
    {3, "q4_1"},
    {6, "q5_0"},
    {7, "q5_1"},
    {8, "q8_0"},
    {20, "iq4_nl"},
});

Result<DType> cache_dtype(uint32_t ggml_type, std::string_view plane) {
  switch (ggml_type) {
    case 0:
      return DType::f32;
    case 1:
      return DType::f16;
    case 30:
      return DType::bf16;
    default:
      break;
  }
  const auto* known = std::find_if(kQuantised.begin(), kQuantised.end(), [&](const auto& entry) {
    return entry.first == ggml_type;
  });
  return SLUICE_ERR(Errc::unsupported,
                    "llama.cpp cache type {} of {}: only f32, f16 and bf16 caches are stored; "
                    "set cache_type_{} to one of them",
                    known == kQuantised.end() ? fmt::format("ggml type {}", ggml_type)
                                              : std::string(known->second),
                    plane,
                    plane);
}

Result<PageGeometry> page_geometry(const KvGroup& group, const LlamaOptions& options) {
  bool known = group.planes.size() == 2 && group.planes[0].role == PlaneRole::k &&
               group.planes[1].role == PlaneRole::v;
  if (!known) {
    return SLUICE_ERR(Errc::unsupported, "llama.cpp state: a KV group is not of planes k and v");
  }
  PageGeometry page = {.planes = group.planes,
                       .layers = static_cast<uint32_t>(group.layers.size()),
                       .n_tokens = options.page_tokens};
  SLUICE_TRY(page.planes[0].dtype, cache_dtype(options.k_ggml_type, "k"));
  SLUICE_TRY(page.planes[1].dtype, cache_dtype(options.v_ggml_type, "v"));
  SLUICE_CHECK(page.validate());
  return page;
}

// The layers of the groups that a cache holds, in the model's order.
std::vector<LlamaLayer> cache_layers(const ModelManifest& manifest, bool windowed) {
  std::vector<std::pair<uint32_t, LlamaLayer>> found;
  for (uint32_t g = 0; g < manifest.groups.size(); ++g) {
    const KvGroup& group = manifest.groups[g];
    for (uint32_t i = 0; i < group.layers.size() && (group.window != 0) == windowed; ++i) {
      found.push_back({group.layers[i], {.group = g, .index = i}});
    }
  }
  std::sort(
      found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<LlamaLayer> layers;
  for (const auto& [layer, where] : found) {
    layers.push_back(where);
  }
  return layers;
}

}  // namespace

Result<LlamaLayout> make_llama_layout(const ModelManifest& manifest, const LlamaOptions& options) {
  if (manifest.source != ManifestSource::gguf) {
    return SLUICE_ERR(
        Errc::unsupported,
        "llama.cpp state: the manifest is of a config.json, whose keys are in another "
        "order; open the GGUF file");
  }
  LlamaLayout layout;
  layout.frame = options.frame;
  if (layout.frame.stream() >= layout.frame.streams || layout.frame.streams > kLlamaStreamsMax) {
    return SLUICE_ERR(Errc::bad_value,
                      "llama.cpp state: sequence {} of {} streams, at most {}",
                      layout.frame.sequence,
                      layout.frame.streams,
                      kLlamaStreamsMax);
  }
  layout.v_transposed = !options.flash_attention;
  layout.k_ggml_type = options.k_ggml_type;
  layout.v_ggml_type = options.v_ggml_type;
  uint32_t window = 0;
  for (const KvGroup& group : manifest.groups) {
    SLUICE_TRY(PageGeometry page, page_geometry(group, options));
    layout.groups.push_back(std::move(page));
    if (window != 0 && group.window != 0 && group.window != window) {
      return SLUICE_ERR(Errc::unsupported,
                        "llama.cpp state: windows of {} and {} tokens in one model",
                        window,
                        group.window);
    }
    window = std::max(window, group.window);
  }
  layout.caches.push_back({.window = 0, .layers = cache_layers(manifest, false)});
  if (layout.caches[0].layers.empty()) {
    return SLUICE_ERR(Errc::unsupported, "llama.cpp state: no layer has full attention");
  }
  if (window != 0) {
    layout.caches.push_back({.window = window, .layers = cache_layers(manifest, true)});
  }
  return layout;
}

}  // namespace sluice
