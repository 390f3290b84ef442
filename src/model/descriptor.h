// The descriptor: everything but the tokens that decides the bytes of a KV group (IDENTITY.md).
//
// Not the prefix chain (chain.h) and not where a descriptor comes from (manifest.h and the engine's
// options). TP rank, PP stage and kernels are no part of it: layers and head range say what a page
// holds. Pure values, any thread. Every byte read is untrusted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/result.h"
#include "src/model/geometry.h"
#include "src/model/rope.h"

namespace sluice {

inline constexpr uint32_t kDescriptorVersion = 1;
inline constexpr uint32_t kPageTokensDefault = 64;

// How page keys are made of tokens. On the wire: DO NOT CHANGE THESE VALUES.
enum class TokenHash : uint8_t { sha256_chain = 1 };

struct Descriptor {
  Hash32 model_digest{};              // digest.h
  std::optional<Hash32> lora_digest;  // none: the plain model
  Bytes user_salt;                    // separates users of one tenant; up to 1024 bytes
  DType compute_dtype = DType::f32;   // of the activations that K and V were computed from
  std::string runtime_quantisation;   // how the engine quantises at run time; "" for not
  std::vector<float> kv_scales;       // static fp8 scales, [layer][plane]; empty for none
  AttentionKind attention = AttentionKind::full;
  uint32_t window = 0;           // tokens that a window attends to; 0 for other kinds
  std::vector<uint32_t> layers;  // transformer layers, ascending
  uint32_t first_head = 0;       // head range: kv heads [first_head, first_head + heads)
  uint32_t heads = 0;
  std::vector<Plane> planes;  // of every layer; their dtype is the KV dtype
  Rope rope;
  uint32_t page_tokens = kPageTokensDefault;  // multiple of 32
  TokenHash token_hash = TokenHash::sha256_chain;

  bool operator==(const Descriptor&) const = default;
};

// The canonical bytes: fields {id u16, length u32, bytes}, little-endian, ascending, all present.
// Errors: bad_value, too_large (a field outside its range; the text names it).
Result<Bytes> encode_descriptor(const Descriptor& descriptor);

// Parses canonical bytes; encoding the result gives the same bytes.
// Errors: too_large, truncated, bad_version, bad_value (a field that is unknown, missing, repeated,
// out of order or outside its range; the text names it).
Result<Descriptor> parse_descriptor(ByteSpan bytes);

// The space's name: SHA-256("sluice space 1" || descriptor bytes).
Hash32 space_id(ByteSpan descriptor_bytes);

// The shape of the space's pages. Requires: a descriptor that encode or parse accepted.
PageGeometry geometry(const Descriptor& descriptor);

// One field in which two descriptors differ, as texts for people.
struct FieldDifference {
  std::string_view field;  // as in IDENTITY.md, e.g. "kv_dtype"
  std::string here;
  std::string there;

  bool operator==(const FieldDifference&) const = default;
};

// The fields that differ, ascending by id; empty for equal descriptors. The salt shows by its hash.
std::vector<FieldDifference> diff(const Descriptor& here, const Descriptor& there);

// How many fields differ, from canonical bytes that parse_descriptor accepted: no text is made, so
// that the nearest of many is found quickly. Complexity: linear in the bytes.
size_t count_differences(ByteSpan here, ByteSpan there);

// "kv_dtype: f16 here, bf16 there; page_tokens: 64 here, 128 there"; "" for none.
std::string to_string(const std::vector<FieldDifference>& differences);

// Names of the fields by id - 1, for the test that compares them with IDENTITY.md.
std::vector<std::string_view> descriptor_field_names();

}  // namespace sluice
