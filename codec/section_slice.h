// One section of a page: some layers of one plane, and where they stand in the tensors.
// Private to codec/.
#pragma once

#include <cstdint>

#include "codec/elements.h"
#include "codec/page.h"
#include "codec/page_check.h"

namespace sluice::codec {

struct SectionSlice {
  size_t index = 0;
  size_t plane = 0;
  uint32_t first_layer = 0;
  uint32_t layers = 0;
};

inline SectionSlice slice_of(const PageHeader& header, uint32_t group, size_t plane) {
  return {.index = header.section_index(0, group, plane),
          .plane = plane,
          .first_layer = group * header.layers_per_section,
          .layers = layers_in_group(header, group)};
}

inline LayerShape layer_shape(const PageHeader& header, size_t plane) {
  return {.channels = static_cast<uint32_t>(header.geometry.planes[plane].width()),
          .n_tokens = header.geometry.n_tokens,
          .dtype = header.geometry.planes[plane].dtype,
          .stored = header.stored[plane]};
}

// Calls visit(layer in the section, its bytes in `tensors`, whose first layer is `first_layer`).
template <class Span, class Visit>
void for_each_layer(const PageGeometry& geometry,
                    const SectionSlice& slice,
                    uint32_t first_layer,
                    Span tensors,
                    Visit visit) {
  for (uint32_t layer = 0; layer < slice.layers; ++layer) {
    uint64_t offset = geometry.offset_bytes(slice.first_layer + layer - first_layer, slice.plane);
    visit(layer, tensors.subspan(offset, geometry.plane_bytes(slice.plane)));
  }
}

}  // namespace sluice::codec
