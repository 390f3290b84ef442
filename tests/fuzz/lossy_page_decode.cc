// Property: any profile and any page that names it decode to tensors or give an error, the same
// with all kernels, and so does the page cut after any row; tensors that come out go in again, and
// what comes out then is a page that decodes, with a row exact to the same tensors.
#include <algorithm>

#include "codec/codec.h"
#include "codec/page_layout.h"
#include "tests/codec/restamp.h"
#include "tests/fuzz/every_kernel.h"

using namespace sluice;
using namespace sluice::codec;

namespace {

// The first rows of those that are there, as many as the page's key says, which says nothing else.
void decode_some_rows(const PageHeader& header, ByteSpan page, const Profile& profile) {
  const size_t rows = 1 + header.page_key[0] % rows_within(header, page.size());
  const uint64_t end = header.section_offset(header.section_index(rows, 0, 0));
  Bytes tensors(header.geometry.bytes());
  SLUICE_ASSERT(decode_by_all(header, page.first(end), tensors, &profile).has_value());
}

void encode_again(const PageHeader& header, const Bytes& tensors, const Profile& profile) {
  const bool exact = header.rows.back().level == Level::exact;
  PageSpec spec{.encoding = header.encoding,
                .first_position = header.first_position,
                .geometry = header.geometry,
                .profile = &profile,
                .lossy_rows = static_cast<uint32_t>(header.rows.size() - (exact ? 1 : 0)),
                .exact_row = exact};
  Bytes again(encode_bound(spec.geometry, kRowsMax).value());
  Workspace workspace;
  Result<size_t> bytes = encode_page(spec, tensors, again, workspace);
  if (exact && bytes.has_error() && bytes.error().code == Errc::unsupported) {
    return;  // f32 that no 16 bits hold
  }
  SLUICE_ASSERT(bytes.has_value() && *bytes <= again.size());
  again.resize(*bytes);
  Result<PageHeader> verified = verify_page(again);
  SLUICE_ASSERT(verified.has_value());
  Bytes back(tensors.size());
  SLUICE_ASSERT(decode_by_all(*verified, again, back, &profile).has_value());
  SLUICE_ASSERT(!exact || back == tensors);
}

}  // namespace

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
  Bytes tensors(header->geometry.bytes());
  if (decode_by_all(*header, page, tensors, &*profile).has_value()) {
    decode_some_rows(*header, page, *profile);
    encode_again(*header, tensors, *profile);
  }
  return 0;
}
