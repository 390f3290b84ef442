// What one page holds: planes, layers, tokens, and where each element stands in canonical order.
// Not engine layouts (llama_state.h) and not identity (descriptor.h). Pure values, no threads.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"

namespace sluice {

// Element types of KV planes. On disk and on the wire: DO NOT CHANGE THESE VALUES.
enum class DType : uint8_t {
  f32 = 1,
  f16 = 2,
  bf16 = 3,
  f8_e4m3 = 4,
  f8_e5m2 = 5,
  u8 = 6,  // opaque bytes: states, packed quantised blocks
};

// What a plane is to the model. On disk and on the wire: DO NOT CHANGE THESE VALUES.
enum class PlaneRole : uint8_t {
  k = 1,
  v = 2,
  latent = 3,
  index = 4,
  state = 5,
  opaque = 6,
};

// How the layers of a KV group attend. On the wire: DO NOT CHANGE THESE VALUES.
enum class AttentionKind : uint8_t {
  full = 1,
  window = 2,
  recurrent = 3,
};

// Bytes of one element; 0 for a value that is no DType.
uint32_t dtype_bytes(DType dtype);
// "f16", or "unknown".
std::string_view dtype_name(DType dtype);
// "k", or "unknown".
std::string_view role_name(PlaneRole role);
// The value of a wire byte. Errors: bad_value.
Result<DType> dtype_from_wire(uint8_t value);
Result<PlaneRole> role_from_wire(uint8_t value);

// One plane of every layer of a group: [token][head][dim] elements a layer.
struct Plane {
  PlaneRole role = PlaneRole::k;
  DType dtype = DType::f16;
  uint32_t heads = 0;
  uint32_t dim = 0;
  uint32_t rotated_dims = 0;  // first dims of each head that carry RoPE; 0 for none

  uint64_t width() const { return uint64_t{heads} * dim; }  // elements of one token

  bool operator==(const Plane&) const = default;
};

// The shape of a page: `layers` times the planes, `n_tokens` tokens each.
// Canonical order of a page's tensors: [layer][plane][token][head][dim], without padding.
struct PageGeometry {
  std::vector<Plane> planes;
  uint32_t layers = 0;
  uint32_t n_tokens = 0;

  // Elements and bytes of the whole page.
  uint64_t elements() const;
  uint64_t bytes() const;
  // Bytes of one layer, all planes; of one plane of one layer.
  uint64_t layer_bytes() const;
  uint64_t plane_bytes(size_t plane) const;
  // Byte offset of (layer, plane, token 0) in canonical order. Requires: both in range.
  uint64_t offset_bytes(uint32_t layer, size_t plane) const;

  // Checks every count against limits.h and that the page fits kPageBytesMax.
  // Errors: bad_value (a zero or unknown field), too_large.
  Status validate() const;

  bool operator==(const PageGeometry&) const = default;
};

}  // namespace sluice
