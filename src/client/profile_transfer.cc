#include "src/client/profile_transfer.h"

#include <algorithm>
#include <utility>

namespace sluice::client {
namespace {

// Somebody else may send the same file, or the daemon let go of what came of it: so the daemon
// says what it wants next, and a file begins anew a few times at most.
constexpr uint32_t kTries = 3;

Status send_pieces(Client& client, const Hash32& digest, ByteSpan file) {
  transport::PutProfileRequest request{.digest = digest,
                                       .profile_bytes = static_cast<uint32_t>(file.size())};
  for (uint32_t starts = 0; starts <= kTries;) {
    SLUICE_TRY(auto requester, client.requester());
    SLUICE_TRY(const transport::PutProfileReply reply,
               requester->put_profile(request, client.call_options()));
    if (reply.next_offset == file.size()) {
      return {};
    }
    if (reply.next_offset > file.size()) {
      return SLUICE_ERR(Errc::protocol_error,
                        "the daemon wants offset {} of a profile of {} bytes",
                        reply.next_offset,
                        file.size());
    }
    client.moved(request.piece.size());
    starts += reply.next_offset <= request.offset ? 1 : 0;
    const ByteSpan rest = file.subspan(reply.next_offset);
    const ByteSpan piece =
        rest.first(std::min<size_t>(rest.size(), transport::kProfilePieceBytesMax));
    request.offset = reply.next_offset;
    request.piece.assign(piece.begin(), piece.end());
  }
  return SLUICE_ERR(Errc::overloaded,
                    "the daemon let go of what came of profile {} {} times; try again",
                    to_hex(digest),
                    kTries);
}

}  // namespace

Status put_profile(Client& client, const Hash32& digest, ByteSpan file) {
  Status sent = send_pieces(client, digest, file);
  // Another client may have begun the file with bytes that are none of it.
  return sent.has_error() && sent.error().code == Errc::bad_checksum
             ? send_pieces(client, digest, file)
             : sent;
}

Status offer_profiles(Client& client, const std::set<Hash32>& digests) {
  for (const Hash32& digest : digests) {
    if (const ByteSpan file = client.profiles.file(digest); !file.empty()) {
      SLUICE_CHECK(put_profile(client, digest, file));
    }
  }
  return {};
}

Result<Bytes> get_profile(Client& client, const Hash32& digest) {
  Bytes file;
  uint32_t profile_bytes = 0;
  do {
    SLUICE_TRY(auto requester, client.requester());
    const transport::GetProfileRequest request{.digest = digest,
                                               .offset = static_cast<uint32_t>(file.size())};
    SLUICE_TRY(const transport::GetProfileReply reply,
               requester->get_profile(request, client.call_options()));
    profile_bytes = reply.profile_bytes;
    file.insert(file.end(), reply.piece.begin(), reply.piece.end());
    client.moved(reply.piece.size());
  } while (file.size() < profile_bytes);
  if (sha256(file) != digest) {
    return SLUICE_ERR(
        Errc::damaged, "profile {} came with the digest {}", to_hex(digest), to_hex(sha256(file)));
  }
  return file;
}

}  // namespace sluice::client
