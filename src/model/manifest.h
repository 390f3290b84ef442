// The model manifest: what a model file says of its KV: layers, heads, RoPE, windows.
//
// Not the identity (descriptor.h adds digest, dtypes and the engine's options) and not an engine's
// layout (llama_state.h). Architectures are known by name, since a file does not say how its layers
// attend; others are refused. Pure functions but read_manifest, any thread. Input is untrusted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/model/geometry.h"
#include "src/model/gguf.h"
#include "src/model/rope.h"

namespace sluice {

// Layers with the same attention, planes and RoPE: what one page can hold.
struct KvGroup {
  AttentionKind attention = AttentionKind::full;
  uint32_t window = 0;           // tokens that a window attends to; 0 for full
  std::vector<uint32_t> layers;  // transformer layers, ascending
  std::vector<Plane> planes;     // k, then v; dtype f16 until the engine's is known
  Rope rope;

  bool operator==(const KvGroup&) const = default;
};

// Where the manifest was read. K of some architectures is permuted in GGUF files, and rope says so.
enum class ManifestSource : uint8_t { gguf = 1, hf_config = 2 };

struct ModelManifest {
  ManifestSource source = ManifestSource::gguf;
  std::string architecture;     // as in the file: "llama", "Qwen2ForCausalLM"
  std::string name;             // for people; may be empty
  uint32_t layers = 0;          // transformer layers, all groups
  uint32_t context_tokens = 0;  // that the model was made for
  std::vector<KvGroup> groups;  // full attention first, then by first layer

  // JSON text for people and tools; its keys are the fields' names.
  std::string to_json() const;
};

// The manifest of a GGUF. Errors: unsupported (architecture or option, named), bad_value.
Result<ModelManifest> manifest_from_gguf(const Gguf& gguf);

// The manifest of a transformers config.json. Errors: unsupported, bad_value.
Result<ModelManifest> manifest_from_hf_config(std::string_view json);

// The manifest of a GGUF file, or of a folder with config.json. Errors: io_error, truncated,
// bad_magic, bad_version, too_large, bad_value, unsupported.
Result<ModelManifest> read_manifest(const std::string& path);

}  // namespace sluice
