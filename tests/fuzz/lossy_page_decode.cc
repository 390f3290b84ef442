// Property: any profile and any page that names it decode to tensors or give an error; tensors that
// come out go in again, and what comes out then is a page that decodes.
#include <algorithm>

#include "codec/codec.h"
#include "codec/page_layout.h"
#include "tests/codec/restamp.h"

using namespace sluice;
using namespace sluice::codec;

// The input is a profile, as long as it says that it is, then a page.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 20) {
    return 0;
  }
  size_t profile_bytes = std::min<size_t>(load_le<uint32_t>(data + 16), size);
  Bytes file(data, data + profile_bytes);
  Bytes page(data + profile_bytes, data + size);
  restamp_profile(file);
  Result<Profile> profile = parse_profile(file, RopePairing::neox);
  if (profile.has_error() || page.size() < kPageFixedBytes) {
    return 0;
  }
  std::copy(
      profile->digest.begin(), profile->digest.end(), page.begin() + layout::kProfileDigest.at);
  restamp(page);
  Result<PageHeader> header = parse_page_header(page);
  if (header.has_error() || header->geometry.bytes() > (1u << 20)) {
    return 0;
  }
  Workspace workspace;
  Bytes tensors(header->geometry.bytes());
  if (decode_page(*header, page, tensors, workspace, &*profile).has_error()) {
    return 0;
  }
  PageSpec spec{.encoding = header->encoding,
                .first_position = header->first_position,
                .geometry = header->geometry,
                .profile = &*profile};
  Bytes again(encode_bound(spec.geometry).value());
  Result<size_t> bytes = encode_page(spec, tensors, again, workspace);
  SLUICE_ASSERT(bytes.has_value() && *bytes <= again.size());
  again.resize(*bytes);
  Result<PageHeader> verified = verify_page(again);
  SLUICE_ASSERT(verified.has_value());
  SLUICE_ASSERT(decode_page(*verified, again, tensors, workspace, &*profile).has_value());
  return 0;
}
