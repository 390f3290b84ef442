// Property: any bytes give a descriptor or an error, and a descriptor encodes to its bytes, differs
// from itself in nothing, and shapes pages within the limits.
#include <algorithm>

#include "src/model/descriptor.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteSpan bytes(data, size);
  Result<Descriptor> descriptor = parse_descriptor(bytes);
  if (descriptor.has_value()) {
    Result<Bytes> again = encode_descriptor(*descriptor);
    SLUICE_ASSERT(again.has_value() && std::equal(again->begin(), again->end(), data, data + size));
    SLUICE_ASSERT(geometry(*descriptor).validate().has_value());
    SLUICE_ASSERT(diff(*descriptor, *descriptor).empty());
    SLUICE_ASSERT(to_string(diff(*descriptor, Descriptor{})) != "");
  }
  return 0;
}
