// The frame header: 64 bytes in front of everything that travels (PROTOCOL.md, "Frame header").
//
// Not what payloads mean (messages.h) and not who may send what when (session.h, requester.h).
// Pure functions, any thread. Every byte read is untrusted.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "src/base/bytes.h"
#include "src/base/limits.h"
#include "src/base/result.h"

namespace sluice::transport {

inline constexpr uint32_t kFrameMagic = 0x31464c53;  // the bytes "SLF1"
inline constexpr uint8_t kProtocolVersion = 1;
inline constexpr size_t kFrameHeaderBytes = 64;
inline constexpr uint32_t kDeadlineMsMax = 600'000;

// Offsets of the header's fields; the header's checksum covers all bytes before itself.
namespace frame_offset {
inline constexpr size_t kMagic = 0;
inline constexpr size_t kVersion = 4;
inline constexpr size_t kType = 5;
inline constexpr size_t kFlags = 6;
inline constexpr size_t kRequestId = 8;
inline constexpr size_t kTraceId = 16;
inline constexpr size_t kDeadlineMs = 32;
inline constexpr size_t kStatus = 36;
inline constexpr size_t kPayloadBytes = 40;
inline constexpr size_t kFrameIndex = 44;
inline constexpr size_t kPayloadXxh3 = 48;
inline constexpr size_t kHeaderXxh3 = 56;
}  // namespace frame_offset

// On the wire: DO NOT CHANGE THESE VALUES.
enum class MessageType : uint8_t {
  hello = 1,
  open = 2,
  lookup = 3,
  get = 4,
  put = 5,
  damaged = 6,
  erase = 7,  // DELETE in the specification; `delete` is a keyword
  stats = 8,
  goodbye = 9,  // daemon to client only: why it closes the connection
  get_profile = 10,
  put_profile = 11,
};

// "GET"; "unknown" for a number that is none.
std::string_view message_name(MessageType type);

// Bits of the flags field; all others must be zero.
inline constexpr uint16_t kFlagReply = 1;      // travels from daemon to client
inline constexpr uint16_t kFlagLast = 2;       // ends the request or the reply
inline constexpr uint16_t kFlagPageBytes = 4;  // the payload is page bytes, which carry checksums
inline constexpr uint16_t kFlagsKnown = kFlagReply | kFlagLast | kFlagPageBytes;

using TraceId = std::array<uint8_t, 16>;

struct FrameHeader {
  MessageType type = MessageType::hello;
  uint16_t flags = 0;
  uint64_t request_id = 0;
  TraceId trace_id{};
  uint32_t deadline_ms = 0;
  uint32_t status = 0;  // an Errc; 0 in requests
  uint32_t payload_bytes = 0;
  uint32_t frame_index = 0;
  uint64_t payload_xxh3 = 0;

  bool has(uint16_t flag) const { return (flags & flag) != 0; }

  bool operator==(const FrameHeader&) const = default;
};

using FrameBytes = std::array<uint8_t, kFrameHeaderBytes>;

// The 64 bytes of a header, with magic, version and header checksum.
FrameBytes encode_frame_header(const FrameHeader& header);

// Parses and checks a header: magic, version, checksum, then every field by itself.
// Errors: truncated, bad_magic, bad_version, bad_checksum, unsupported (unknown type),
// reserved_set (unknown flag), too_large (payload, deadline), bad_value.
Result<FrameHeader> parse_frame_header(ByteSpan bytes);

// Checks a message's payload against its header. Errors: bad_checksum.
Status verify_payload(const FrameHeader& header, ByteSpan payload);

}  // namespace sluice::transport
