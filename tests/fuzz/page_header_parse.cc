// Property: any bytes give a header or an error, and a header that parses serialises to its bytes.
#include <algorithm>

#include "codec/page.h"
#include "tests/codec/restamp.h"

using namespace sluice;
using namespace sluice::codec;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes page(data, data + size);
  restamp(page);  // a checksum is no obstacle to a hostile writer
  Result<PageHeader> header = parse_page_header(page);
  if (header.has_value()) {
    Result<Bytes> bytes = serialise_page_header(*header);
    SLUICE_ASSERT(bytes.has_value());
    SLUICE_ASSERT(bytes->size() == header->header_bytes() && bytes->size() <= page.size());
    SLUICE_ASSERT(std::equal(bytes->begin(), bytes->end(), page.begin()));
  }
  return 0;
}
