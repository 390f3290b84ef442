#include "transport/frame.h"

#include <algorithm>

#include "src/base/checksum.h"

namespace sluice::transport {
namespace {

Status check_flags(const FrameHeader& header) {
  if ((header.flags & ~kFlagsKnown) != 0) {
    return SLUICE_ERR(Errc::reserved_set,
                      "frame header: flags {:#06x} have unknown bits, expected only {:#06x}",
                      header.flags,
                      kFlagsKnown);
  }
  if (header.has(kFlagPageBytes)) {
    auto carrier = header.has(kFlagReply) ? MessageType::get : MessageType::put;
    if (header.type != carrier || header.payload_bytes == 0 || header.payload_xxh3 != 0) {
      return SLUICE_ERR(Errc::bad_value,
                        "frame header: a {} frame of {} page bytes with checksum {:#x}; page bytes "
                        "come in {} frames, never empty, without a checksum",
                        message_name(header.type),
                        header.payload_bytes,
                        header.payload_xxh3,
                        message_name(carrier));
    }
  }
  return {};
}

Status check_direction(const FrameHeader& header) {
  if (header.has(kFlagReply)) {
    bool goodbye = header.type == MessageType::goodbye;
    if (header.deadline_ms != 0 || goodbye != (header.request_id == 0)) {
      return SLUICE_ERR(Errc::bad_value,
                        "frame header: a {} reply with request id {} and deadline {} ms, expected "
                        "no deadline, and id 0 for GOODBYE only",
                        message_name(header.type),
                        header.request_id,
                        header.deadline_ms);
    }
    return {};
  }
  if (header.type == MessageType::goodbye || header.request_id == 0 || header.status != 0 ||
      header.deadline_ms == 0) {
    return SLUICE_ERR(Errc::bad_value,
                      "frame header: a {} request with id {}, status {}, deadline {} ms; a request "
                      "has an id, no status, and a deadline of 1 to {} ms",
                      message_name(header.type),
                      header.request_id,
                      header.status,
                      header.deadline_ms,
                      kDeadlineMsMax);
  }
  return {};
}

// Magic, version and checksum: whether these bytes are a header of ours at all.
Status check_envelope(ByteSpan bytes) {
  if (bytes.size() < kFrameHeaderBytes) {
    return SLUICE_ERR(
        Errc::truncated, "frame header: {} bytes, needs {}", bytes.size(), kFrameHeaderBytes);
  }
  const uint8_t* p = bytes.data();
  if (auto magic = load_le<uint32_t>(p + frame_offset::kMagic); magic != kFrameMagic) {
    return SLUICE_ERR(Errc::bad_magic,
                      "frame header: magic {:#010x}, expected {:#010x}; is the peer Sluice?",
                      magic,
                      kFrameMagic);
  }
  if (uint8_t version = p[frame_offset::kVersion]; version != kProtocolVersion) {
    return SLUICE_ERR(Errc::bad_version,
                      "frame header: protocol version {}, this side speaks {}; upgrade the older",
                      version,
                      kProtocolVersion);
  }
  auto stored = load_le<uint64_t>(p + frame_offset::kHeaderXxh3);
  if (uint64_t hash = xxh3_64(bytes.first(frame_offset::kHeaderXxh3)); hash != stored) {
    return SLUICE_ERR(Errc::bad_checksum,
                      "frame header: checksum {:#018x}, its bytes give {:#018x}",
                      stored,
                      hash);
  }
  return {};
}

}  // namespace

std::string_view message_name(MessageType type) {
  constexpr auto kNames = std::to_array<std::string_view>({"unknown",
                                                           "HELLO",
                                                           "OPEN",
                                                           "LOOKUP",
                                                           "GET",
                                                           "PUT",
                                                           "DAMAGED",
                                                           "DELETE",
                                                           "STATS",
                                                           "GOODBYE",
                                                           "GET_PROFILE",
                                                           "PUT_PROFILE"});
  auto index = static_cast<size_t>(type);
  return index < kNames.size() ? kNames[index] : kNames[0];
}

FrameBytes encode_frame_header(const FrameHeader& header) {
  FrameBytes out{};
  uint8_t* p = out.data();
  store_le(p + frame_offset::kMagic, kFrameMagic);
  p[frame_offset::kVersion] = kProtocolVersion;
  p[frame_offset::kType] = static_cast<uint8_t>(header.type);
  store_le(p + frame_offset::kFlags, header.flags);
  store_le(p + frame_offset::kRequestId, header.request_id);
  std::copy(header.trace_id.begin(), header.trace_id.end(), p + frame_offset::kTraceId);
  store_le(p + frame_offset::kDeadlineMs, header.deadline_ms);
  store_le(p + frame_offset::kStatus, header.status);
  store_le(p + frame_offset::kPayloadBytes, header.payload_bytes);
  store_le(p + frame_offset::kFrameIndex, header.frame_index);
  store_le(p + frame_offset::kPayloadXxh3, header.payload_xxh3);
  store_le(p + frame_offset::kHeaderXxh3, xxh3_64({p, frame_offset::kHeaderXxh3}));
  return out;
}

Result<FrameHeader> parse_frame_header(ByteSpan bytes) {
  SLUICE_CHECK(check_envelope(bytes));
  const uint8_t* p = bytes.data();
  FrameHeader header;
  header.type = static_cast<MessageType>(p[frame_offset::kType]);
  header.flags = load_le<uint16_t>(p + frame_offset::kFlags);
  header.request_id = load_le<uint64_t>(p + frame_offset::kRequestId);
  std::copy_n(p + frame_offset::kTraceId, header.trace_id.size(), header.trace_id.begin());
  header.deadline_ms = load_le<uint32_t>(p + frame_offset::kDeadlineMs);
  header.status = load_le<uint32_t>(p + frame_offset::kStatus);
  header.payload_bytes = load_le<uint32_t>(p + frame_offset::kPayloadBytes);
  header.frame_index = load_le<uint32_t>(p + frame_offset::kFrameIndex);
  header.payload_xxh3 = load_le<uint64_t>(p + frame_offset::kPayloadXxh3);
  if (message_name(header.type) == "unknown") {
    return SLUICE_ERR(Errc::unsupported,
                      "frame header: message type {} is unknown to protocol version {}",
                      p[frame_offset::kType],
                      kProtocolVersion);
  }
  if (header.payload_bytes > kFramePayloadBytesMax || header.deadline_ms > kDeadlineMsMax) {
    return SLUICE_ERR(Errc::too_large,
                      "frame header: {} payload bytes and deadline {} ms, at most {} and {} ms",
                      header.payload_bytes,
                      header.deadline_ms,
                      kFramePayloadBytesMax,
                      kDeadlineMsMax);
  }
  SLUICE_CHECK(check_flags(header));
  SLUICE_CHECK(check_direction(header));
  return header;
}

Status verify_payload(const FrameHeader& header, ByteSpan payload) {
  if (uint64_t hash = xxh3_64(payload); hash != header.payload_xxh3) {
    return SLUICE_ERR(Errc::bad_checksum,
                      "{} payload of {} bytes: checksum {:#018x}, its bytes give {:#018x}",
                      message_name(header.type),
                      payload.size(),
                      header.payload_xxh3,
                      hash);
  }
  return {};
}

}  // namespace sluice::transport
