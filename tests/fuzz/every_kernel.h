// Decoding with every set of kernels that the machine has: they agree, or the fuzz target stops.
#pragma once

#include <algorithm>

#include "codec/codec.h"
#include "codec/kernels.h"

namespace sluice::codec {

inline Status decode_by_all(const PageHeader& header,
                            ByteSpan page,
                            MutByteSpan tensors,
                            const Profile* profile = nullptr) {
  Workspace plain{.kernels = &scalar_kernels()}, best;
  Status status = decode_page(header, page, tensors, plain, profile);
  Bytes twin(tensors.size());
  const Status other = decode_page(header, page, twin, best, profile);
  SLUICE_ASSERT(other.has_error() == status.has_error());
  if (status.has_error()) {
    SLUICE_ASSERT(other.error().code == status.error().code);
    SLUICE_ASSERT(other.error().text == status.error().text);
  } else {
    SLUICE_ASSERT(std::equal(twin.begin(), twin.end(), tensors.begin()));
  }
  return status;
}

}  // namespace sluice::codec
