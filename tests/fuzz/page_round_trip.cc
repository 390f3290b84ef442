// Property: any tensors come back bit for bit and encode to the same bytes, with all kernels, and
// an output one byte below the bound is refused with output_too_small.
#include <algorithm>

#include "codec/codec.h"
#include "tests/fuzz/every_kernel.h"

using namespace sluice;
using namespace sluice::codec;

// The first bytes of the input choose the geometry, the rest are the tensors, repeated as needed.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 9) {
    return 0;
  }
  auto dtype = static_cast<DType>(1 + data[0] % 6);
  auto role = static_cast<PlaneRole>(1 + data[1] % 6);
  uint32_t heads = 1 + data[3] % 3u;
  uint32_t dim = 1 + data[4] % 40u;
  PageSpec spec{
      .encoding = data[2] % 4 == 0 ? Encoding::raw : Encoding::direct,
      .geometry = {.planes = {{role, dtype, heads, dim, 0}, {PlaneRole::v, dtype, 1, 4, 0}},
                   .layers = 1 + data[5] % 4u,
                   .n_tokens = 32 * (1 + data[6] % 3u)}};
  Bytes tensors(spec.geometry.bytes());
  for (size_t i = 0; i < tensors.size(); ++i) {
    tensors[i] = data[8 + i % (size - 8)];
  }
  Result<uint64_t> bound = encode_bound(spec.geometry);
  SLUICE_ASSERT(bound.has_value());
  Workspace workspace;
  Bytes page(*bound);
  Result<size_t> bytes = encode_page(spec, tensors, page, workspace);
  SLUICE_ASSERT(bytes.has_value());
  page.resize(*bytes);
  Bytes twin(*bound);
  Workspace plain{.kernels = &scalar_kernels()};
  SLUICE_ASSERT(encode_page(spec, tensors, twin, plain).has_value());
  SLUICE_ASSERT(std::equal(page.begin(), page.end(), twin.begin()));
  Result<PageHeader> header = verify_page(page);
  SLUICE_ASSERT(header.has_value());
  Bytes back(tensors.size());
  SLUICE_ASSERT(decode_by_all(*header, page, back).has_value());
  SLUICE_ASSERT(back == tensors);
  Result<size_t> refused =
      encode_page(spec, tensors, MutByteSpan(twin).first(*bound - 1), workspace);
  SLUICE_ASSERT(refused.has_error() && refused.error().code == Errc::output_too_small);
  return 0;
}
