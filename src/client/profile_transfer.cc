#include "src/client/profile_transfer.h"

#include <algorithm>
#include <utility>

namespace sluice::client {
namespace {

// Somebody else may send the same file, or the daemon let go of what came of it: so the daemon
// says what it wants next, and pieces may be in vain a few times at most.
constexpr uint32_t kVainPieces = 3;

uint32_t piece_size(uint64_t profile_bytes, uint64_t offset) {
  return static_cast<uint32_t>(
      std::min<uint64_t>(profile_bytes - offset, transport::kProfilePieceBytesMax));
}

Status send_pieces(Client& client, const Hash32& digest, ByteSpan file) {
  transport::PutProfileRequest request{.digest = digest,
                                       .profile_bytes = static_cast<uint32_t>(file.size())};
  for (uint32_t vain = 0; vain <= kVainPieces;) {
    SLUICE_TRY(auto requester, client.requester());
    SLUICE_TRY(const transport::PutProfileReply reply,
               requester->put_profile(request, client.call_options()));
    const uint32_t next = reply.next_offset;
    if (next == file.size()) {
      return {};
    }
    if (next > file.size()) {
      return SLUICE_ERR(Errc::protocol_error,
                        "the daemon wants offset {} of a profile of {} bytes",
                        next,
                        file.size());
    }
    const bool was_taken = next >= request.offset + request.piece.size();
    vain += was_taken ? 0 : 1;
    client.moved(was_taken ? request.piece.size() : 0);
    const ByteSpan piece = file.subspan(next, piece_size(file.size(), next));
    request.offset = next;
    request.piece.assign(piece.begin(), piece.end());
  }
  return SLUICE_ERR(Errc::overloaded,
                    "the daemon did not take {} pieces of profile {}; try again",
                    kVainPieces + 1,
                    to_hex(digest));
}

}  // namespace

Status put_profile(Client& client, const Hash32& digest, ByteSpan file) {
  Client::Call call(client);
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
  Client::Call call(client);
  Bytes file;
  uint32_t profile_bytes = 0;
  do {
    SLUICE_TRY(auto requester, client.requester());
    const transport::GetProfileRequest request{.digest = digest,
                                               .offset = static_cast<uint32_t>(file.size())};
    SLUICE_TRY(const transport::GetProfileReply reply,
               requester->get_profile(request, client.call_options()));
    profile_bytes = file.empty() ? reply.profile_bytes : profile_bytes;
    if (reply.profile_bytes != profile_bytes ||
        reply.piece.size() != piece_size(profile_bytes, file.size())) {
      return SLUICE_ERR(Errc::protocol_error,
                        "{} bytes at offset {} of profile {}, of {} bytes, then {}",
                        reply.piece.size(),
                        file.size(),
                        to_hex(digest),
                        profile_bytes,
                        reply.profile_bytes);
    }
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
