// A whole connection from bytes: whatever comes, the session's output is whole frames, what waits
// is bounded, and a closed session has nothing more to say. The first byte: bit 0, whether frames
// get checksums that fit (else hardly one would get past them); bit 1, one byte at a time; the
// rest, units of 32 ms that pass after each frame.
#include "tests/transport/sample_service.h"
#include "tests/transport/wire_bytes.h"

namespace sluice::transport {
namespace {

// The next frame of the input, its header made to fit the payload that is there.
Bytes next_frame(ByteSpan& input, bool seal) {
  if (!seal || input.size() < kFrameHeaderBytes) {
    ByteSpan rest = std::exchange(input, {});
    return Bytes(rest.begin(), rest.end());
  }
  Bytes out(input.begin(), input.begin() + kFrameHeaderBytes);
  input = input.subspan(kFrameHeaderBytes);
  uint8_t* p = out.data();
  auto wanted = load_le<uint32_t>(p + frame_offset::kPayloadBytes);
  ByteSpan payload = input.first(std::min<size_t>(wanted, input.size()));
  input = input.subspan(payload.size());
  bool page = (load_le<uint16_t>(p + frame_offset::kFlags) & kFlagPageBytes) != 0;
  store_le(p + frame_offset::kMagic, kFrameMagic);
  p[frame_offset::kVersion] = kProtocolVersion;
  store_le(p + frame_offset::kPayloadBytes, static_cast<uint32_t>(payload.size()));
  store_le(p + frame_offset::kPayloadXxh3, page ? 0 : xxh3_64(payload));
  store_le(p + frame_offset::kHeaderXxh3, xxh3_64({p, frame_offset::kHeaderXxh3}));
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

void run(uint8_t mode, ByteSpan input) {
  ManualClock clock;
  SampleService service;
  service.store(key_of(0), Bytes(200'000));
  SessionLimits limits{.requests_in_flight_max = 4, .reply_credit_bytes = kCreditBytesMin};
  Session session(limits, clock);
  while (!input.empty() && !session.closed()) {
    Bytes bytes = next_frame(input, (mode & 1) != 0);
    feed(session, service, bytes, (mode & 2) != 0 ? 1 : SIZE_MAX);
    SLUICE_ASSERT(session.requests_in_flight() <= limits.requests_in_flight_max);
    for (const WireFrame& frame : frames_of(drain_output(session))) {
      SLUICE_ASSERT(frame.header.has(kFlagReply));
    }
    clock.advance_ns((mode >> 2) * uint64_t{32'000'000});
    session.on_timer();
  }
  if (session.closed()) {
    SLUICE_ASSERT(session.receive_buffer().empty() && !session.next_event().has_value());
  }
  session.received_end();
  service.on_close(session, session.error());
  SLUICE_ASSERT(service.puts_under_way() == 0);
}

}  // namespace
}  // namespace sluice::transport

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) {
    sluice::transport::run(data[0], sluice::ByteSpan(data + 1, size - 1));
  }
  return 0;
}
