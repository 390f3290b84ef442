// Property: any bytes whose checksums are right decode to tensors or give an error, the same with
// all kernels; tensors that come out go in again and come back the same.
#include "codec/codec.h"
#include "tests/codec/restamp.h"
#include "tests/fuzz/every_kernel.h"

using namespace sluice;
using namespace sluice::codec;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes page(data, data + size);
  restamp(page);
  Result<PageHeader> header = parse_page_header(page);
  if (header.has_error() || header->geometry.bytes() > (1u << 20)) {
    return 0;
  }
  Bytes tensors(header->geometry.bytes());
  if (decode_by_all(*header, page, tensors).has_error()) {
    return 0;
  }
  PageSpec spec{.page_key = header->page_key,
                .encoding = header->encoding,
                .provenance_kl = header->provenance_kl,
                .first_position = header->first_position,
                .geometry = header->geometry};
  Result<uint64_t> bound = encode_bound(spec.geometry);
  SLUICE_ASSERT(bound.has_value());
  Workspace workspace;
  Bytes again(*bound);
  Result<size_t> bytes = encode_page(spec, tensors, again, workspace);
  SLUICE_ASSERT(bytes.has_value() && *bytes <= *bound);
  again.resize(*bytes);
  Result<PageHeader> verified = verify_page(again);
  SLUICE_ASSERT(verified.has_value());
  Bytes back(tensors.size());
  SLUICE_ASSERT(decode_by_all(*verified, again, back).has_value());
  SLUICE_ASSERT(back == tensors);
  return 0;
}
