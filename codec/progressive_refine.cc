// The rows between the first one and `exact`: what three times the coarser value lacks.
#include <algorithm>
#include <cstdlib>

#include "codec/kernels.h"
#include "codec/progressive.h"
#include "codec/progressive_tables.h"

namespace sluice::codec {
size_t encode_refinement(const ProgressiveShape& shape,
                         Level level,
                         ByteSpan corrections,
                         std::span<const int16_t> values,
                         MutByteSpan out,
                         Workspace& workspace) {
  auto coarser = static_cast<Level>(static_cast<int>(level) + 1);
  constexpr std::array<uint8_t, kSeedBytes> kNoSeed{};
  LaneEncoder lanes(ByteSpan(kNoSeed).first(0), values.size(), workspace.words);
  for (size_t layer = shape.layers.size(); layer-- > 0;) {
    const std::span<const uint8_t> scales =
        scales_of(shape, layer, coarser, static_cast<int8_t>(corrections[layer]), workspace);
    workspace.kernels->encode_refinement(
        lanes.sink(), scales, shape.n_tokens, values.data() + layer * shape.layer_values());
  }
  return lanes.write(out);
}

Status decode_refinement(const ProgressiveShape& shape,
                         Level level,
                         ByteSpan corrections,
                         ByteSpan section,
                         const SectionPlace& place,
                         std::span<int16_t> quantised,
                         Workspace& workspace) {
  if (section.size() < kStatesBytes) {
    return damaged_section(place, "it ends before its states do");
  }
  SLUICE_TRY(LaneDecoder lanes, LaneDecoder::open(section, 0, 0, place, workspace.more_bytes));
  auto coarser = static_cast<Level>(static_cast<int>(level) + 1);
  int16_t* values = quantised.data();
  for (size_t layer = 0; layer < shape.layers.size(); ++layer, values += shape.layer_values()) {
    std::span<const uint8_t> scales =
        scales_of(shape, layer, coarser, static_cast<int8_t>(corrections[layer]), workspace);
    if (!workspace.kernels->decode_refinement(lanes.cursor(), scales, shape.n_tokens, values)) {
      return damaged_section(place, "its words end before its symbols do");
    }
  }
  Result<ByteSpan> rest = lanes.finish(place);
  return rest.has_value() ? Status() : Status(rest.error());
}

}  // namespace sluice::codec
