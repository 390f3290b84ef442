#include "transport/byte_stream.h"

#include <algorithm>
#include <vector>

namespace sluice::transport {

Status ByteStream::send(std::span<const ByteSpan> pieces, uint64_t deadline_ns) {
  std::vector<ByteSpan> rest(pieces.begin(), pieces.end());
  size_t first = 0;
  while (true) {
    while (first < rest.size() && rest[first].empty()) {
      ++first;
    }
    if (first == rest.size()) {
      return {};
    }
    SLUICE_TRY(size_t moved, do_send_some(std::span(rest).subspan(first), deadline_ns));
    while (moved > 0) {
      size_t part = std::min(moved, rest[first].size());
      rest[first] = rest[first].subspan(part);
      moved -= part;
      first += rest[first].empty() ? 1 : 0;
    }
  }
}

Status ByteStream::receive_exact(MutByteSpan out, uint64_t deadline_ns) {
  while (!out.empty()) {
    SLUICE_TRY(size_t moved, do_receive_some(out, deadline_ns));
    out = out.subspan(moved);
  }
  return {};
}

}  // namespace sluice::transport
