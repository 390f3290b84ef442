// The messages inside frames: plain structs, their bytes, their limits (PROTOCOL.md, "Messages").
//
// Not frames (frame.h), not order or state (session.h). Every message fits one frame; page bytes
// are no message and travel in frames of their own. Keys, descriptors and self-test vectors are
// opaque here. Pure functions, any thread. Every byte read is untrusted.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/errc.h"
#include "src/base/limits.h"
#include "src/base/result.h"
#include "transport/frame.h"

namespace sluice::transport {

using EncodingBytes = std::array<uint8_t, 16>;  // an encoding_id; zeros: any

inline constexpr uint32_t kTextBytesMax = 4096;     // an error's or a miss reason's sentence
inline constexpr uint32_t kSoftwareBytesMax = 128;  // "sluiced 0.1.0"
inline constexpr uint32_t kTokenBytesMin = 32;      // shorter ones could be guessed
inline constexpr uint32_t kTokenBytesMax = 128;
inline constexpr uint32_t kLookupGroupsMax = 1024;  // KV groups x head ranges
inline constexpr uint32_t kRowsMax = 255;           // refinement rows of one page
inline constexpr uint32_t kStatsMax = 1024;
inline constexpr uint32_t kStatNameBytesMax = 128;
inline constexpr uint32_t kProfilePieceBytesMax = 512u << 10;
inline constexpr uint64_t kCreditBytesMin = 64ull << 10;
inline constexpr uint64_t kCreditBytesMax = 1ull << 30;

// ---- HELLO: the first request of a connection.

struct HelloRequest {
  uint8_t version_min = kProtocolVersion;
  uint8_t version_max = kProtocolVersion;
  uint64_t features = 0;  // bits that the client understands; none are defined yet
  uint64_t reply_credit_bytes = 8ull << 20;  // reply bytes that may wait for this client
  Hash32 self_test{};                        // of the client's hash chain
  std::string software{};                    // printable ASCII
  std::string token{};                       // the same; "": none. In no log and no error's text

  bool operator==(const HelloRequest&) const = default;
};

// The largest HELLO request: all that a peer may send before it is known.
inline constexpr uint32_t kHelloBytesMax = 56 + kSoftwareBytesMax + kTokenBytesMax;

struct HelloReply {
  uint8_t version = kProtocolVersion;
  uint64_t features = 0;              // bits that both sides understand
  uint64_t request_credit_bytes = 0;  // request payload that may wait for answers
  uint64_t reply_credit_bytes = 0;
  Hash32 self_test{};  // of the daemon's hash chain
  std::string software{};

  bool operator==(const HelloReply&) const = default;
};

// ---- OPEN: a space by its descriptor.

struct OpenRequest {
  uint32_t worst_kl = 0;  // the worst quality that this process may ever load, micro-nats
  Bytes descriptor{};

  bool operator==(const OpenRequest&) const = default;
};

struct OpenReply {
  uint32_t handle = 0;
  Hash32 space_id{};

  bool operator==(const OpenReply&) const = default;
};

// ---- LOOKUP: how many pages of a prefix are there.

struct LookupGroup {
  uint32_t handle = 0;
  uint32_t window_pages = 0;   // 0: every page is needed; else the last so many of the boundary
  std::vector<Hash32> keys{};  // of the prefix, in order

  bool operator==(const LookupGroup&) const = default;
};

struct LookupRequest {
  uint32_t max_kl = 0;
  std::vector<LookupGroup> groups{};  // all keys together: at most kKeysMax

  bool operator==(const LookupRequest&) const = default;
};

struct LookupPage {
  uint32_t rows = 0;          // stored rows within max_kl
  uint32_t kl = 0;            // effective quality of these rows
  uint64_t stored_bytes = 0;  // header and sections of these rows

  bool operator==(const LookupPage&) const = default;
};

struct LookupGroupReply {
  uint32_t hit_pages = 0;           // pages there from the first key on, without a gap
  uint32_t first_page = 0;          // index in keys of pages[0]
  std::vector<LookupPage> pages{};  // what a reader of common_pages needs of this group

  bool operator==(const LookupGroupReply&) const = default;
};

struct LookupReply {
  uint32_t common_pages = 0;               // pages of the prefix that every group can serve
  std::vector<LookupGroupReply> groups{};  // as asked
  std::string miss_reason{};  // printable ASCII: why nothing was there at all; else empty

  bool operator==(const LookupReply&) const = default;
};

// ---- GET: pages, streamed.

struct GetPageRequest {
  Hash32 key{};
  EncodingBytes encoding_id{};  // zeros: any encoding within max_kl
  uint32_t first_row = 0;       // rows before it are there already: needs an encoding_id
  uint32_t least_rows = 0;      // so many are sent, as far as they are stored, even if fewer do

  bool operator==(const GetPageRequest&) const = default;
};

struct GetRequest {
  uint32_t handle = 0;
  uint32_t max_kl = 0;
  uint32_t first_layer = 0;  // of the page's layers, from 0; rounded out to sections;
  uint32_t layer_count = 0;  // 0 (and first_layer 0): all of them
  std::vector<GetPageRequest> pages{};

  bool operator==(const GetRequest&) const = default;
};

// In front of each page's bytes; every page asked for gets exactly one.
struct PageMeta {
  uint32_t page_index = 0;  // in GetRequest::pages
  Errc status = Errc::ok;   // not ok (not_found, damaged, ...): no bytes follow
  EncodingBytes encoding_id{};
  uint32_t header_bytes = 0;  // the page header comes first,
  uint64_t body_bytes = 0;    // then the sections
  uint32_t rows = 0;          // rows that the sections belong to, from first_row on
  uint32_t kl = 0;            // effective quality with these rows

  uint64_t page_bytes() const { return header_bytes + body_bytes; }

  bool operator==(const PageMeta&) const = default;
};

// ---- PUT: one page.

// On the wire: DO NOT CHANGE THESE VALUES.
enum class Ack : uint8_t { ram = 0, disk = 1 };
enum class PutOutcome : uint8_t {
  stored = 1,     // there was none
  replaced = 2,   // it was better than what was there
  unchanged = 3,  // what was there is as good or better and stays
};

struct PutRequest {
  uint32_t handle = 0;
  Ack ack = Ack::ram;
  Hash32 key{};
  Hash32 anchor{};          // the page it is evicted with; zeros: none
  uint64_t page_bytes = 0;  // header and sections, in the frames that follow

  bool operator==(const PutRequest&) const = default;
};

struct PutReply {
  PutOutcome outcome = PutOutcome::stored;

  bool operator==(const PutReply&) const = default;
};

// ---- DAMAGED: a client found a served page wrong.

struct DamagedRequest {
  uint32_t handle = 0;
  Hash32 key{};
  EncodingBytes encoding_id{};

  bool operator==(const DamagedRequest&) const = default;
};

struct DamagedReply {
  bool quarantined = false;  // false: the daemon's copy is intact, or gone

  bool operator==(const DamagedReply&) const = default;
};

// ---- DELETE

struct DeleteRequest {
  uint32_t handle = 0;
  std::vector<Hash32> keys{};

  bool operator==(const DeleteRequest&) const = default;
};

struct DeleteReply {
  uint32_t deleted_pages = 0;

  bool operator==(const DeleteReply&) const = default;
};

// ---- STATS

struct StatsRequest {
  bool operator==(const StatsRequest&) const = default;
};

struct Stat {
  std::string name{};  // printable ASCII
  uint64_t value = 0;

  bool operator==(const Stat&) const = default;
};

struct StatsReply {
  std::vector<Stat> stats{};

  bool operator==(const StatsReply&) const = default;
};

// ---- GET_PROFILE, PUT_PROFILE: what lossy pages are coded with, in pieces.

struct GetProfileRequest {
  Hash32 digest{};      // SHA-256 of the file
  uint32_t offset = 0;  // in the file, of the piece that is wanted

  bool operator==(const GetProfileRequest&) const = default;
};

struct GetProfileReply {
  uint32_t profile_bytes = 0;  // of the whole file
  Bytes piece{};

  bool operator==(const GetProfileReply&) const = default;
};

struct PutProfileRequest {
  Hash32 digest{};
  uint32_t profile_bytes = 0;
  uint32_t offset = 0;  // of the piece
  Bytes piece{};        // empty: only asks what the daemon wants

  bool operator==(const PutProfileRequest&) const = default;
};

struct PutProfileReply {
  uint32_t next_offset = 0;  // of the piece that the daemon wants next; profile_bytes: it has all

  bool operator==(const PutProfileReply&) const = default;
};

// The bytes of a message. Errors: too_large, bad_value (a field outside PROTOCOL.md's range).
Result<Bytes> encode(const HelloRequest& message);
Result<Bytes> encode(const HelloReply& message);
Result<Bytes> encode(const OpenRequest& message);
Result<Bytes> encode(const OpenReply& message);
Result<Bytes> encode(const LookupRequest& message);
Result<Bytes> encode(const LookupReply& message);
Result<Bytes> encode(const GetRequest& message);
Result<Bytes> encode(const PageMeta& message);
Result<Bytes> encode(const PutRequest& message);
Result<Bytes> encode(const PutReply& message);
Result<Bytes> encode(const DamagedRequest& message);
Result<Bytes> encode(const DamagedReply& message);
Result<Bytes> encode(const DeleteRequest& message);
Result<Bytes> encode(const DeleteReply& message);
Result<Bytes> encode(const StatsRequest& message);
Result<Bytes> encode(const StatsReply& message);
Result<Bytes> encode(const GetProfileRequest& message);
Result<Bytes> encode(const GetProfileReply& message);
Result<Bytes> encode(const PutProfileRequest& message);
Result<Bytes> encode(const PutProfileReply& message);

// The message in a frame's payload. The result owns its memory.
// Errors: truncated, reserved_set, too_large, bad_value; the text names message and field.
template <class Message>
Result<Message> parse(ByteSpan payload) = delete;
template <>
Result<HelloRequest> parse(ByteSpan payload);
template <>
Result<HelloReply> parse(ByteSpan payload);
template <>
Result<OpenRequest> parse(ByteSpan payload);
template <>
Result<OpenReply> parse(ByteSpan payload);
template <>
Result<LookupRequest> parse(ByteSpan payload);
template <>
Result<LookupReply> parse(ByteSpan payload);
template <>
Result<GetRequest> parse(ByteSpan payload);
template <>
Result<PageMeta> parse(ByteSpan payload);
template <>
Result<PutRequest> parse(ByteSpan payload);
template <>
Result<PutReply> parse(ByteSpan payload);
template <>
Result<DamagedRequest> parse(ByteSpan payload);
template <>
Result<DamagedReply> parse(ByteSpan payload);
template <>
Result<DeleteRequest> parse(ByteSpan payload);
template <>
Result<DeleteReply> parse(ByteSpan payload);
template <>
Result<StatsRequest> parse(ByteSpan payload);
template <>
Result<StatsReply> parse(ByteSpan payload);
template <>
Result<GetProfileRequest> parse(ByteSpan payload);
template <>
Result<GetProfileReply> parse(ByteSpan payload);
template <>
Result<PutProfileRequest> parse(ByteSpan payload);
template <>
Result<PutProfileReply> parse(ByteSpan payload);

// A text as it may travel, and stand in a log or on a terminal: cut at kTextBytesMax, everything
// that is not printable ASCII made '?'.
std::string wire_text(std::string_view text);

// The error that a reply or GOODBYE is, with its text made a wire_text(); never Errc::ok: of a
// status of 0, which an error cannot have, protocol_error.
Error parse_error(uint32_t status, ByteSpan payload);

// The payload of such a reply: the text as a wire_text().
Bytes encode_error(const Error& error);

}  // namespace sluice::transport
