#include "tests/codec/restamp.h"

#include <algorithm>

#include "codec/page.h"
#include "codec/page_layout.h"
#include "codec/profile_layout.h"

namespace sluice::codec {

void restamp(Bytes& page) {
  if (page.size() < kPageFixedBytes) {
    return;
  }
  auto header_bytes = load_le<uint32_t>(page.data() + layout::kHeaderBytes.at);
  if (header_bytes < kPageFixedBytes || header_bytes > page.size()) {
    return;
  }
  size_t table = kPageFixedBytes + kPlaneEntryBytes * page[layout::kPlanes.at] +
                 kRowEntryBytes * page[layout::kRows.at];
  size_t at = header_bytes;
  for (; table + kSectionEntryBytes <= header_bytes; table += kSectionEntryBytes) {
    auto bytes = load_le<uint32_t>(page.data() + table + layout::kSectionBytes.at);
    if (bytes > page.size() - at) {
      break;
    }
    store_le(page.data() + table + layout::kSectionXxh3.at, xxh3_64({page.data() + at, bytes}));
    at += bytes;
  }
  store_le(
      page.data() + layout::kHeaderXxh3.at,
      xxh3_64({page.data() + layout::kChecksummedFrom, header_bytes - layout::kChecksummedFrom}));
}

void restamp_profile(Bytes& file) {
  using namespace profile_layout;
  if (file.size() >= kHeaderBytes) {
    store_le(file.data() + kProfileBytes.at, static_cast<uint32_t>(file.size()));
    Hash32 digest = sha256(ByteSpan(file).subspan(kCheckedFrom));
    std::copy_n(digest.begin(), kCheck.bytes, file.begin() + kCheck.at);
  }
}

}  // namespace sluice::codec
