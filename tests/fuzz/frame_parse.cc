// A frame header that parses is encoded to the same bytes.
#include <algorithm>

#include "src/base/checksum.h"
#include "transport/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  using namespace sluice::transport;
  Bytes bytes(data, data + size);
  if (size >= kFrameHeaderBytes && size % 2 == 0) {
    // Inputs of even size get checksums that fit, to reach what lies behind them.
    store_le(bytes.data() + frame_offset::kHeaderXxh3,
             xxh3_64(ByteSpan(bytes).first(frame_offset::kHeaderXxh3)));
  }
  auto header = parse_frame_header(bytes);
  if (header.has_error()) {
    SLUICE_ASSERT(!header.error().text.empty());
    return 0;
  }
  FrameBytes again = encode_frame_header(*header);
  SLUICE_ASSERT(std::equal(again.begin(), again.end(), bytes.begin()));
  return 0;
}
