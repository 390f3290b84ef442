#include "transport/frame.h"

#include <gtest/gtest.h>

#include "src/base/checksum.h"
#include "tests/transport/wire_bytes.h"

namespace sluice::transport {
namespace {

// The header bytes after `change`, with a checksum that fits them.
template <class Change>
FrameBytes resealed(const FrameHeader& header, Change change) {
  FrameBytes bytes = encode_frame_header(header);
  change(bytes.data());
  store_le(bytes.data() + frame_offset::kHeaderXxh3,
           xxh3_64(ByteSpan(bytes).first(frame_offset::kHeaderXxh3)));
  return bytes;
}

Errc refusal(ByteSpan bytes) {
  auto parsed = parse_frame_header(bytes);
  return parsed.has_error() ? parsed.error().code : Errc::ok;
}

FrameHeader sample() {
  return {.type = MessageType::get,
          .flags = kFlagLast,
          .request_id = 0x1122334455667788,
          .trace_id = {1, 2, 3},
          .deadline_ms = 250,
          .payload_bytes = 1000,
          .payload_xxh3 = 42};
}

TEST(FrameHeader, RoundTrips) {
  EXPECT_EQ(*parse_frame_header(encode_frame_header(sample())), sample());
  FrameHeader reply = sample();
  reply.flags = kFlagReply;
  reply.deadline_ms = 0;
  reply.status = static_cast<uint32_t>(Errc::no_space);
  EXPECT_EQ(*parse_frame_header(encode_frame_header(reply)), reply);
}

TEST(FrameHeader, EveryFlippedBitIsRefused) {
  FrameBytes bytes = encode_frame_header(sample());
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_NE(refusal(bytes), Errc::ok) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST(FrameHeader, EveryShorterInputIsTruncated) {
  FrameBytes bytes = encode_frame_header(sample());
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_EQ(refusal(ByteSpan(bytes).first(n)), Errc::truncated);
  }
}

TEST(FrameHeader, NamesWhatIsWrong) {
  auto with = [](size_t offset, uint8_t value) {
    return refusal(resealed(sample(), [&](uint8_t* p) { p[offset] = value; }));
  };
  EXPECT_EQ(with(frame_offset::kMagic, 'X'), Errc::bad_magic);
  EXPECT_EQ(with(frame_offset::kVersion, 2), Errc::bad_version);
  EXPECT_EQ(with(frame_offset::kType, 0), Errc::unsupported);
  EXPECT_EQ(with(frame_offset::kType, 12), Errc::unsupported);
  EXPECT_EQ(with(frame_offset::kFlags, 8), Errc::reserved_set);
  EXPECT_EQ(with(frame_offset::kPayloadBytes + 2, 0x11), Errc::too_large);
  EXPECT_EQ(with(frame_offset::kDeadlineMs + 3, 1), Errc::too_large);
  EXPECT_EQ(with(frame_offset::kStatus, 1), Errc::bad_value);
  EXPECT_EQ(with(frame_offset::kDeadlineMs, 0), Errc::bad_value);
}

TEST(FrameHeader, RefusesWhatNoSideSends) {
  auto refusal_of = [](auto change) {
    FrameHeader header = sample();
    change(header);
    return refusal(encode_frame_header(header));
  };
  EXPECT_EQ(refusal_of([](FrameHeader& h) { h.request_id = 0; }), Errc::bad_value);
  EXPECT_EQ(refusal_of([](FrameHeader& h) { h.type = MessageType::goodbye; }), Errc::bad_value);
  EXPECT_EQ(refusal_of([](FrameHeader& h) { h.flags = kFlagReply; }), Errc::bad_value);
  EXPECT_EQ(refusal_of([](FrameHeader& h) { h.flags = kFlagPageBytes; }), Errc::bad_value);
  EXPECT_EQ(refusal_of([](FrameHeader& h) {
              h.type = MessageType::put;
              h.flags = kFlagPageBytes;
            }),
            Errc::bad_value);
  EXPECT_EQ(refusal_of([](FrameHeader& h) {
              h.type = MessageType::put;
              h.flags = kFlagPageBytes;
              h.payload_xxh3 = 0;
              h.payload_bytes = 0;
            }),
            Errc::bad_value);
}

TEST(FramePayload, ADamagedPayloadIsRefused) {
  Bytes payload = random_bytes(100, 1);
  FrameHeader header = sample();
  header.payload_xxh3 = xxh3_64(payload);
  EXPECT_FALSE(verify_payload(header, payload).has_error());
  payload[50] ^= 1;
  EXPECT_EQ(verify_payload(header, payload).error().code, Errc::bad_checksum);
}

TEST(MessageType, HasTheSpecificationsNames) {
  EXPECT_EQ(message_name(MessageType::erase), "DELETE");
  EXPECT_EQ(message_name(static_cast<MessageType>(200)), "unknown");
}

}  // namespace
}  // namespace sluice::transport
