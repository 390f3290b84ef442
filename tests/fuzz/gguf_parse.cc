// Property: any bytes give metadata or an error, and metadata gives a manifest or an error; a
// manifest has a layout and a text, and every layer stands in one group.
#include "src/model/llama_state.h"
#include "src/model/manifest.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Result<Gguf> gguf = parse_gguf(ByteSpan(data, size));
  if (gguf.has_error()) {
    return 0;
  }
  Result<ModelManifest> manifest = manifest_from_gguf(*gguf);
  if (manifest.has_error()) {
    return 0;
  }
  size_t layers = 0;
  for (const KvGroup& group : manifest->groups) {
    layers += group.layers.size();
    SLUICE_ASSERT(group.layers.back() < manifest->layers);
  }
  SLUICE_ASSERT(layers == manifest->layers);
  SLUICE_ASSERT(!manifest->to_json().empty());
  Result<LlamaLayout> layout = make_llama_layout(*manifest, {});
  SLUICE_ASSERT(layout.has_error() || layout->groups.size() == manifest->groups.size());
  return 0;
}
