// Property: any bytes whose check is right give a profile or an error; in the other pairing it has
// the same channels, and comes back.
#include "codec/profile.h"
#include "tests/codec/restamp.h"

using namespace sluice;
using namespace sluice::codec;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes file(data, data + size);
  restamp_profile(file);
  Result<Profile> neox = parse_profile(file, RopePairing::neox);
  Result<Profile> interleaved = parse_profile(file, RopePairing::interleaved);
  SLUICE_ASSERT(neox.has_value() == interleaved.has_value());
  if (neox.has_value()) {
    SLUICE_ASSERT(neox->digest == interleaved->digest && neox->planes == interleaved->planes);
    SLUICE_ASSERT(neox->layers.size() == interleaved->layers.size());
    PageGeometry geometry{.planes = neox->planes,
                          .layers = static_cast<uint32_t>(neox->layers.size()),
                          .n_tokens = 32};
    SLUICE_ASSERT(check_profile_geometry(*neox, geometry).has_value());
  }
  return 0;
}
