#include "tests/codec/restamp.h"

#include "codec/page.h"
#include "codec/page_layout.h"

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

}  // namespace sluice::codec
