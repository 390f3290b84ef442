// What a broken or hostile peer sends: each closes the connection with one Error and a GOODBYE.
#include <gtest/gtest.h>

#include "tests/transport/sample_service.h"
#include "tests/transport/wire_bytes.h"
#include "transport/session.h"

namespace sluice::transport {
namespace {

constexpr uint64_t kMs = 1'000'000;

class ViolationTest : public testing::Test {
 protected:
  // The error that closed a session which got a HELLO and then `bytes`.
  Errc closes(ByteSpan bytes, bool hello = true) {
    Session session(SessionLimits(), clock_);
    if (hello) {
      feed(session, service_, hello_frame());
      drain_output(session);
    }
    feed(session, service_, bytes);
    return closed_with(session);
  }

  // Checks that the session is closed for good and said why.
  Errc closed_with(Session& session) {
    if (!session.closed()) {
      return Errc::ok;
    }
    EXPECT_TRUE(session.receive_buffer().empty());
    EXPECT_FALSE(session.next_event().has_value());
    auto frames = frames_of(drain_output(session));
    EXPECT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames.at(0).header.type, MessageType::goodbye);
    EXPECT_EQ(frames.at(0).status(), session.error()->code);
    EXPECT_EQ(frames.at(0).text(), session.error()->text);
    return session.error()->code;
  }

  ManualClock clock_;
  SampleService service_;
};

TEST_F(ViolationTest, GarbageHasABadMagic) {
  EXPECT_EQ(closes(random_bytes(1000, 1)), Errc::bad_magic);
  EXPECT_EQ(closes(as_bytes("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a browser of some "
                            "kind\r\n\r\n\r\n"),
                   false),
            Errc::bad_magic);
}

TEST_F(ViolationTest, AnUnknownVersionIsRefused) {
  Bytes wire = request(MessageType::stats, 2, StatsRequest());
  wire[frame_offset::kVersion] = 9;
  EXPECT_EQ(closes(wire), Errc::bad_version);
  HelloRequest hello{.version_min = 2, .version_max = 3};
  EXPECT_EQ(closes(request(MessageType::hello, 1, hello), false), Errc::bad_version);
}

TEST_F(ViolationTest, DamagedHeadersAndPayloadsAreRefused) {
  Bytes wire = request(MessageType::erase, 2, DeleteRequest{.handle = 7, .keys = {key_of(1)}});
  wire[10] ^= 1;
  EXPECT_EQ(closes(wire), Errc::bad_checksum);
  wire[10] ^= 1;
  wire.back() ^= 1;
  EXPECT_EQ(closes(wire), Errc::bad_checksum);
}

TEST_F(ViolationTest, AnOversizedLengthIsRefusedBeforeItsBytes) {
  FrameHeader header = request_header(MessageType::erase, 2);
  header.payload_bytes = kFramePayloadBytesMax + 1;
  EXPECT_EQ(closes(encode_frame_header(header)), Errc::too_large);
}

TEST_F(ViolationTest, AStrangerMaySendNoMoreThanAHello) {
  FrameHeader header = request_header(MessageType::hello, 1);
  header.payload_bytes = kHelloBytesMax + 1;
  EXPECT_EQ(closes(encode_frame_header(header), false), Errc::too_large);
}

TEST_F(ViolationTest, UnknownTypesFlagsAndMessagesAreRefused) {
  FrameHeader header = request_header(static_cast<MessageType>(42), 2);
  EXPECT_EQ(closes(frame(header, {})), Errc::unsupported);
  header = request_header(MessageType::stats, 2);
  header.flags |= 0x100;
  EXPECT_EQ(closes(frame(header, {})), Errc::reserved_set);
  header = request_header(MessageType::stats, 2);
  EXPECT_EQ(closes(frame(header, Bytes(1))), Errc::bad_value);
  header = request_header(MessageType::open, 2);
  EXPECT_EQ(closes(frame(header, Bytes(3))), Errc::truncated);
  Bytes put = *encode(PutRequest{.page_bytes = 1});
  put[5] = 1;
  header = request_header(MessageType::put, 2);
  header.flags = 0;
  EXPECT_EQ(closes(frame(header, put)), Errc::reserved_set);
}

TEST_F(ViolationTest, HelloComesFirstAndOnce) {
  EXPECT_EQ(closes(request(MessageType::stats, 2, StatsRequest()), false), Errc::protocol_error);
  EXPECT_EQ(closes(hello_frame()), Errc::protocol_error);
}

TEST_F(ViolationTest, RepliesDoNotComeToTheDaemon) {
  FrameHeader header{.type = MessageType::stats, .flags = kFlagReply, .request_id = 2};
  EXPECT_EQ(closes(frame(header, {})), Errc::protocol_error);
}

TEST_F(ViolationTest, RequestsAreOneFrame) {
  FrameHeader header = request_header(MessageType::stats, 2);
  header.flags = 0;
  EXPECT_EQ(closes(frame(header, {})), Errc::protocol_error);
  header = request_header(MessageType::stats, 2);
  header.frame_index = 1;
  EXPECT_EQ(closes(frame(header, {})), Errc::protocol_error);
  header = request_header(MessageType::put, 2);
  EXPECT_EQ(closes(frame(header, *encode(PutRequest{.page_bytes = 1}))), Errc::protocol_error);
  header.flags = kFlagPageBytes;
  EXPECT_EQ(closes(frame(header, Bytes(5))), Errc::protocol_error);
}

TEST_F(ViolationTest, AnUnansweredRequestIdIsNotReused) {
  Session session(SessionLimits(), clock_);
  feed(session, service_, hello_frame());
  drain_output(session);
  Bytes wire = request(MessageType::stats, 2, StatsRequest());
  for (int i = 0; i < 2; ++i) {
    for (uint8_t byte : wire) {
      session.receive_buffer()[0] = byte;
      session.received(1);
    }
  }
  EXPECT_EQ(closed_with(session), Errc::protocol_error);
}

TEST_F(ViolationTest, PutFramesComeInOrderAndExactly) {
  Bytes message = *encode(PutRequest{.handle = 7, .key = key_of(1), .page_bytes = 100});
  auto put_with = [&](auto change, size_t payload_bytes) {
    FrameHeader header = request_header(MessageType::put, 2);
    header.flags = 0;
    Bytes wire = frame(header, message);
    header.flags = kFlagPageBytes | kFlagLast;
    header.frame_index = 1;
    change(header);
    Bytes page = frame(header, Bytes(payload_bytes));
    wire.insert(wire.end(), page.begin(), page.end());
    return wire;
  };
  auto same = [](FrameHeader&) {};
  EXPECT_EQ(closes(put_with(same, 101)), Errc::protocol_error);
  EXPECT_EQ(closes(put_with(same, 99)), Errc::protocol_error);
  EXPECT_EQ(closes(put_with([](FrameHeader& h) { h.flags = kFlagPageBytes; }, 100)),
            Errc::protocol_error);
  EXPECT_EQ(closes(put_with([](FrameHeader& h) { h.frame_index = 2; }, 100)), Errc::protocol_error);
  EXPECT_EQ(closes(put_with([](FrameHeader& h) { h.request_id = 3; }, 100)), Errc::protocol_error);
  auto stats = [](FrameHeader& h) { h = request_header(MessageType::stats, 3); };
  EXPECT_EQ(closes(put_with(stats, 0)), Errc::protocol_error);
  EXPECT_TRUE(service_.pages().empty());
  EXPECT_EQ(closes(put_with(same, 100)), Errc::ok);
  EXPECT_EQ(service_.pages().size(), 1u);
}

TEST_F(ViolationTest, ARefusedHelloEndsTheConnection) {
  Session session(SessionLimits(), clock_);
  feed(session,
       service_,
       request(MessageType::hello, 1, HelloRequest{.self_test = key_of(1), .software = "x"}));
  EXPECT_TRUE(session.closed());
  EXPECT_EQ(session.error()->code, Errc::identity_mismatch);
  auto frames = frames_of(drain_output(session));
  EXPECT_EQ(frames.at(0).header.type, MessageType::hello);
  EXPECT_EQ(frames.at(0).status(), Errc::identity_mismatch);
}

TEST_F(ViolationTest, ASilentClientIsClosed) {
  Session session(SessionLimits(), clock_);
  clock_.advance_ns(session.next_timer_ns() - clock_.now_ns());
  session.on_timer();
  EXPECT_EQ(closed_with(session), Errc::timed_out);
}

TEST_F(ViolationTest, AFrameThatDripsIsClosed) {
  Session session(SessionLimits(), clock_);
  feed(session, service_, hello_frame());
  drain_output(session);
  Bytes wire = request(MessageType::stats, 2, StatsRequest());
  for (size_t i = 0; i < 20 && !session.closed(); ++i) {
    feed(session, service_, ByteSpan(wire).subspan(i, 1));
    clock_.advance_ns(600 * kMs);
    session.on_timer();
  }
  EXPECT_EQ(closed_with(session), Errc::timed_out);
}

TEST_F(ViolationTest, APutThatStopsBetweenItsFramesIsClosed) {
  Session session(SessionLimits(), clock_);
  feed(session, service_, hello_frame());
  drain_output(session);
  Bytes wire =
      put_frames(5, {.handle = 7, .key = key_of(1), .page_bytes = 3000}, Bytes(3000), 1000);
  feed(session, service_, ByteSpan(wire).first(2 * kFrameHeaderBytes + 80 + 1000));
  clock_.advance_ns(1000 * kMs);
  session.on_timer();
  EXPECT_EQ(frames_of(drain_output(session)).at(0).status(), Errc::timed_out);
  EXPECT_FALSE(session.closed());
  clock_.advance_ns(9000 * kMs);
  session.on_timer();
  EXPECT_EQ(closed_with(session), Errc::timed_out);
}

TEST_F(ViolationTest, AClientThatTakesNothingIsClosed) {
  Session session(SessionLimits(), clock_);
  feed(session, service_, hello_frame());
  clock_.advance_ns(29'999 * kMs);
  session.on_timer();
  EXPECT_FALSE(session.closed());
  session.sent(1);
  clock_.advance_ns(29'999 * kMs);
  session.on_timer();
  EXPECT_FALSE(session.closed());
  clock_.advance_ns(kMs);
  session.on_timer();
  EXPECT_EQ(session.error()->code, Errc::timed_out);
}

// Seeded changes of a good stream: the session ends open or closed with an error, never worse, and
// the same bytes in other chunks give the same output.
TEST_F(ViolationTest, MutatedStreamsNeverDoHarm) {
  Bytes good = hello_frame();
  auto add = [&](const Bytes& bytes) { good.insert(good.end(), bytes.begin(), bytes.end()); };
  add(request(MessageType::open, 2, OpenRequest{.descriptor = {1, 2, 3}}));
  add(put_frames(3, {.handle = 7, .key = key_of(1), .page_bytes = 300}, Bytes(300), 100));
  add(request(MessageType::get, 4, GetRequest{.handle = 7, .pages = {{.key = key_of(1)}}}));
  add(request(MessageType::erase, 5, DeleteRequest{.handle = 7, .keys = {key_of(1)}}));
  size_t closed = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    Prng prng(seed);
    Bytes bytes = good;
    for (uint64_t i = 0, n = prng.below(4); i < n; ++i) {
      bytes[prng.below(bytes.size())] = static_cast<uint8_t>(prng.next());
    }
    bytes.erase(bytes.end() - static_cast<ptrdiff_t>(prng.below(bytes.size() / 2)), bytes.end());
    std::vector<Bytes> outputs;
    for (size_t chunk : {size_t{1}, size_t{4096}}) {
      SampleService service;
      Session session(SessionLimits(), clock_);
      feed(session, service, bytes, chunk);
      outputs.push_back(drain_output(session));
      closed += session.closed() ? 1 : 0;
    }
    ASSERT_EQ(outputs[0], outputs[1]) << "seed " << seed;
  }
  EXPECT_GT(closed, 1000u);
}

}  // namespace
}  // namespace sluice::transport
