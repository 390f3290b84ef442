// A Session driven by hand: good requests, order, back-pressure, deadlines, drain.
#include "transport/session.h"

#include <gtest/gtest.h>

#include "tests/transport/sample_service.h"
#include "tests/transport/wire_bytes.h"

namespace sluice::transport {
namespace {

constexpr uint64_t kMs = 1'000'000;

class SessionTest : public testing::Test {
 protected:
  SessionTest() { say_hello(session_); }

  void say_hello(Session& session) {
    feed(session, service_, hello_frame());
    drain_output(session);
  }

  // Feeds bytes and returns the reply's frames.
  std::vector<WireFrame> ask(ByteSpan bytes, size_t chunk = 4096) {
    EXPECT_EQ(feed(session_, service_, bytes, chunk), bytes.size());
    return answers();
  }

  std::vector<WireFrame> answers() {
    Bytes out;
    while (true) {
      feed(session_, service_, {});
      Bytes more = drain_output(session_);
      if (more.empty()) {
        return frames_of(out);
      }
      out.insert(out.end(), more.begin(), more.end());
    }
  }

  // Feeds a request and takes its event without answering it.
  template <class Wanted>
  Wanted hold(Session& session, ByteSpan bytes) {
    while (!bytes.empty() && !session.receive_buffer().empty()) {
      MutByteSpan buffer = session.receive_buffer();
      size_t n = std::min(buffer.size(), bytes.size());
      std::copy_n(bytes.data(), n, buffer.data());
      session.received(n);
      bytes = bytes.subspan(n);
    }
    auto event = session.next_event();
    EXPECT_TRUE(event.has_value());
    return std::get<Wanted>(*std::move(event));
  }

  ManualClock clock_;
  SampleService service_;
  Session session_{SessionLimits(), clock_};
};

TEST_F(SessionTest, HelloGrantsTheLesserCredit) {
  Session session(SessionLimits{.reply_credit_bytes = 1 << 20}, clock_);
  feed(
      session,
      service_,
      request(MessageType::hello, 9, HelloRequest{.reply_credit_bytes = 1 << 17, .software = "x"}));
  auto reply = frames_of(drain_output(session)).at(0);
  EXPECT_EQ(reply.header.request_id, 9u);
  auto hello = *parse<HelloReply>(reply.payload);
  EXPECT_EQ(hello.reply_credit_bytes, 1u << 17);
  EXPECT_EQ(hello.request_credit_bytes, SessionLimits().request_credit_bytes);
  EXPECT_EQ(session.peer_software(), "x");
}

TEST_F(SessionTest, RepliesRepeatRequestAndTraceId) {
  FrameHeader header = request_header(MessageType::stats, 77);
  header.trace_id = {9, 8, 7};
  auto reply = ask(frame(header, {})).at(0);
  EXPECT_EQ(reply.header.request_id, 77u);
  EXPECT_EQ(reply.header.trace_id, header.trace_id);
  EXPECT_EQ(reply.header.flags, kFlagReply | kFlagLast);
  EXPECT_EQ(parse<StatsReply>(reply.payload)->stats.at(0).name, "pages");
}

TEST_F(SessionTest, BytesMayComeOneAtATime) {
  Bytes page = random_bytes(3000, 1);
  Bytes wire = put_frames(5, {.handle = 7, .key = key_of(1), .page_bytes = 3000}, page, 1000);
  GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}}};
  Bytes more = request(MessageType::get, 6, get);
  wire.insert(wire.end(), more.begin(), more.end());
  auto replies = ask(wire, 1);
  ASSERT_EQ(replies.size(), 3u);
  EXPECT_EQ(parse<PutReply>(replies[0].payload)->outcome, PutOutcome::stored);
  EXPECT_EQ(parse<PageMeta>(replies[1].payload)->body_bytes, 3000u - kSampleHeaderBytes);
  EXPECT_EQ(replies[2].payload, page);
  EXPECT_TRUE(replies[2].header.has(kFlagLast));
}

TEST_F(SessionTest, GetAnswersEveryPage) {
  service_.store(key_of(1), random_bytes(kFramePayloadBytesMax + 500, 1));
  GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}, {.key = key_of(2)}}};
  auto replies = ask(request(MessageType::get, 6, get));
  ASSERT_EQ(replies.size(), 4u);
  EXPECT_EQ(replies[1].payload.size(), kFramePayloadBytesMax);
  EXPECT_EQ(replies[2].payload.size(), 500u);
  auto missing = *parse<PageMeta>(replies[3].payload);
  EXPECT_EQ(missing, (PageMeta{.page_index = 1, .status = Errc::not_found}));
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(replies[i].header.frame_index, i);
    EXPECT_EQ(replies[i].header.has(kFlagLast), i == 3);
  }
}

TEST_F(SessionTest, PagesMayBeAnsweredInAnyOrder) {
  GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}, {.key = key_of(2)}}};
  auto first = hold<GetPageEvent>(session_, request(MessageType::get, 6, get));
  auto second = std::get<GetPageEvent>(*session_.next_event());
  EXPECT_FALSE(session_.next_event().has_value());
  Bytes page = random_bytes(100, 1);
  session_.send_page(second.info.id, second.page_index, {.rows = 1, .header = page});
  session_.refuse_page(first.info.id, first.page_index, Errc::damaged);
  auto replies = frames_of(drain_output(session_));
  ASSERT_EQ(replies.size(), 3u);
  EXPECT_EQ(parse<PageMeta>(replies[0].payload)->page_index, 1u);
  EXPECT_FALSE(replies[1].header.has(kFlagLast));
  EXPECT_EQ(parse<PageMeta>(replies[2].payload)->status, Errc::damaged);
  EXPECT_TRUE(replies[2].header.has(kFlagLast));
}

TEST_F(SessionTest, AWholeGetMayBeRefused) {
  GetRequest get{.handle = 8, .pages = {{.key = key_of(1)}, {.key = key_of(2)}}};
  auto replies = ask(request(MessageType::get, 6, get));
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].status(), Errc::unknown_handle);
}

TEST_F(SessionTest, APageThatCannotTravelIsRefusedAlone) {
  GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}}};
  auto wanted = hold<GetPageEvent>(session_, request(MessageType::get, 6, get));
  Bytes header(kPageHeaderBytesMax + 1);
  session_.send_page(wanted.info.id, 0, {.header = header});
  auto meta = *parse<PageMeta>(frames_of(drain_output(session_)).at(0).payload);
  EXPECT_EQ(meta.status, Errc::too_large);
}

TEST_F(SessionTest, KeepsPagesAliveUntilTheirLastByteIsSent) {
  auto page = std::make_shared<const Bytes>(random_bytes(5000, 1));
  GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}}};
  auto wanted = hold<GetPageEvent>(session_, request(MessageType::get, 6, get));
  session_.send_page(wanted.info.id, 0, {.header = *page, .keep_alive = page});
  std::weak_ptr<const Bytes> watch = page;
  page.reset();
  std::vector<ByteSpan> pieces(8);
  size_t total = 0;
  for (size_t i = 0, n = session_.gather(pieces, SIZE_MAX); i < n; ++i) {
    total += pieces[i].size();
  }
  session_.sent(total - 1);
  EXPECT_FALSE(watch.expired());
  session_.sent(1);
  EXPECT_TRUE(watch.expired());
}

TEST_F(SessionTest, PagesAreAskedForAsThePeerTakesThem) {
  Session session(SessionLimits{.reply_credit_bytes = kCreditBytesMin, .pages_wanted_max = 100},
                  clock_);
  say_hello(session);
  for (uint8_t i = 0; i < 20; ++i) {
    service_.store(key_of(i), random_bytes(40'000, i));
  }
  GetRequest get{.handle = 7};
  for (uint8_t i = 0; i < 20; ++i) {
    get.pages.push_back({.key = key_of(i)});
  }
  feed(session, service_, request(MessageType::get, 6, get));
  std::vector<ByteSpan> pieces(100);
  size_t queued = 0;
  for (size_t i = 0, n = session.gather(pieces, SIZE_MAX); i < n; ++i) {
    queued += pieces[i].size();
  }
  EXPECT_GE(queued, kCreditBytesMin);
  EXPECT_LE(queued, kCreditBytesMin + 41'000);
  EXPECT_TRUE(session.receive_buffer().empty());  // nothing more is read meanwhile
  size_t frames = 0;
  while (session.has_output()) {
    frames += frames_of(drain_output(session)).size();
    feed(session, service_, {});
  }
  EXPECT_EQ(frames, 40u);
  EXPECT_FALSE(session.receive_buffer().empty());
}

TEST_F(SessionTest, UnansweredRequestsAreBoundedInNumber) {
  Session session(SessionLimits{.requests_in_flight_max = 2}, clock_);
  say_hello(session);
  auto a = hold<RequestEvent>(session, request(MessageType::stats, 1, StatsRequest()));
  hold<RequestEvent>(session, request(MessageType::stats, 2, StatsRequest()));
  EXPECT_TRUE(session.receive_buffer().empty());
  session.reply(a.info.id, StatsReply());
  EXPECT_FALSE(session.receive_buffer().empty());
}

TEST_F(SessionTest, UnansweredRequestsAreBoundedInBytes) {
  Session session(SessionLimits{.request_credit_bytes = kCreditBytesMin}, clock_);
  say_hello(session);
  DeleteRequest large{.handle = 7, .keys = std::vector<Hash32>(kCreditBytesMin / 32)};
  auto event = hold<RequestEvent>(session, request(MessageType::erase, 1, large));
  EXPECT_TRUE(session.receive_buffer().empty());
  session.reply(event.info.id, DeleteReply());
  EXPECT_FALSE(session.receive_buffer().empty());
}

TEST_F(SessionTest, PutBytesLandInTheirDestination) {
  Bytes page = random_bytes(2500, 1);
  PutRequest put{.handle = 7, .key = key_of(1), .page_bytes = page.size()};
  Bytes wire = put_frames(5, put, page, 1000);
  size_t message_bytes = kFrameHeaderBytes + 80;
  auto begin = hold<PutBeginEvent>(session_, ByteSpan(wire).first(message_bytes));
  EXPECT_EQ(begin.put, put);
  EXPECT_TRUE(session_.receive_buffer().empty());  // waits for the destination
  Bytes destination(page.size());
  session_.accept_put(begin.info.id, destination);
  auto end = hold<PutEndEvent>(session_, ByteSpan(wire).subspan(message_bytes));
  EXPECT_EQ(destination, page);
  session_.reply(end.id, PutReply{.outcome = PutOutcome::replaced});
  auto reply = frames_of(drain_output(session_)).at(0);
  EXPECT_EQ(parse<PutReply>(reply.payload)->outcome, PutOutcome::replaced);
}

TEST_F(SessionTest, ARefusedPutIsDrained) {
  Bytes page = random_bytes(300'000, 1);
  PutRequest put{.handle = 1, .key = key_of(1), .page_bytes = page.size()};
  auto replies = ask(put_frames(5, put, page, 100'000), 7777);
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].status(), Errc::no_space);
  EXPECT_EQ(replies[0].text(), "the store is full");
  EXPECT_EQ(ask(request(MessageType::stats, 6, StatsRequest())).size(), 1u);
}

TEST_F(SessionTest, APutThatIsNotNeededIsAnsweredAtOnceAndDrained) {
  service_.store(key_of(1), Bytes(10));
  Bytes page = random_bytes(3000, 1);
  auto replies =
      ask(put_frames(5, {.handle = 7, .key = key_of(1), .page_bytes = 3000}, page, 1000));
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(parse<PutReply>(replies[0].payload)->outcome, PutOutcome::unchanged);
}

TEST_F(SessionTest, ATornPutEndsTheConnectionAndNothingIsAnnounced) {
  Bytes page = random_bytes(3000, 1);
  Bytes wire = put_frames(5, {.handle = 7, .key = key_of(1), .page_bytes = 3000}, page, 1000);
  for (size_t cut = 1; cut < wire.size(); cut += 97) {
    Session session(SessionLimits(), clock_);
    say_hello(session);
    feed(session, service_, ByteSpan(wire).first(cut));
    session.received_end();
    EXPECT_FALSE(session.next_event().has_value());
    EXPECT_EQ(session.error()->code, Errc::connection_lost);
    service_.on_close(session, session.error());
    EXPECT_EQ(service_.puts_under_way(), 0u);
  }
  EXPECT_TRUE(service_.pages().empty());
}

TEST_F(SessionTest, RequestsPastTheirDeadlineAreAnsweredTimedOut) {
  auto event = hold<RequestEvent>(session_, request(MessageType::stats, 5, StatsRequest()));
  EXPECT_EQ(session_.next_timer_ns(), clock_.now_ns() + 1000 * kMs);
  clock_.advance_ns(999 * kMs);
  session_.on_timer();
  EXPECT_FALSE(session_.has_output());
  clock_.advance_ns(kMs);
  session_.on_timer();
  auto reply = frames_of(drain_output(session_)).at(0);
  EXPECT_EQ(reply.status(), Errc::timed_out);
  EXPECT_EQ(reply.header.request_id, 5u);
  session_.reply(event.info.id, StatsReply());  // too late, and harmless
  EXPECT_FALSE(session_.has_output());
  EXPECT_FALSE(session_.closed());
}

TEST_F(SessionTest, ALateAnswerDoesNotReachANewRequestOfTheSameId) {
  auto old = hold<RequestEvent>(session_, request(MessageType::stats, 5, StatsRequest()));
  clock_.advance_ns(1000 * kMs);
  session_.on_timer();
  drain_output(session_);
  hold<RequestEvent>(session_, request(MessageType::erase, 5, DeleteRequest{.keys = {key_of(1)}}));
  session_.reply(old.info.id, StatsReply());
  EXPECT_FALSE(session_.has_output());
  EXPECT_EQ(session_.requests_in_flight(), 1u);
}

TEST_F(SessionTest, AGetPastItsDeadlineEndsWithTimedOut) {
  GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}, {.key = key_of(2)}}};
  auto wanted = hold<GetPageEvent>(session_, request(MessageType::get, 6, get));
  session_.refuse_page(wanted.info.id, 0, Errc::not_found);
  clock_.advance_ns(1000 * kMs);
  session_.on_timer();
  auto replies = frames_of(drain_output(session_));
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[1].status(), Errc::timed_out);
  EXPECT_EQ(replies[1].header.frame_index, 1u);
  EXPECT_TRUE(replies[1].header.has(kFlagLast));
  EXPECT_FALSE(session_.next_event().has_value());
}

TEST_F(SessionTest, APutPastItsDeadlineIsAbortedAndDrained) {
  Bytes page = random_bytes(3000, 1);
  Bytes wire = put_frames(5, {.handle = 7, .key = key_of(1), .page_bytes = 3000}, page, 1000);
  feed(session_, service_, ByteSpan(wire).first(2000));
  EXPECT_EQ(service_.puts_under_way(), 1u);
  clock_.advance_ns(1000 * kMs);
  session_.on_timer();
  EXPECT_EQ(answers().at(0).status(), Errc::timed_out);
  EXPECT_EQ(service_.puts_aborted(), 1u);
  EXPECT_EQ(service_.puts_under_way(), 0u);
  EXPECT_TRUE(ask(ByteSpan(wire).subspan(2000)).empty());
  EXPECT_TRUE(service_.pages().empty());
  EXPECT_EQ(ask(request(MessageType::stats, 6, StatsRequest())).size(), 1u);
}

TEST_F(SessionTest, AnAcceptAfterTheDeadlineIsAborted) {
  Bytes wire = put_frames(5, {.handle = 7, .key = key_of(1), .page_bytes = 3}, Bytes(3), 3);
  auto begin = hold<PutBeginEvent>(session_, wire);
  clock_.advance_ns(1000 * kMs);
  session_.on_timer();
  Bytes destination(3);
  session_.accept_put(begin.info.id, destination);
  EXPECT_EQ(std::get<PutAbortedEvent>(*session_.next_event()).id, begin.info.id);
}

TEST_F(SessionTest, APutWhoseEndWasNotSeenByItsDeadlineIsAborted) {
  Bytes wire = put_frames(5, {.handle = 7, .key = key_of(1), .page_bytes = 3}, Bytes(3), 3);
  auto begin = hold<PutBeginEvent>(session_, ByteSpan(wire).first(kFrameHeaderBytes + 80));
  Bytes destination(3);
  session_.accept_put(begin.info.id, destination);
  for (uint8_t byte : ByteSpan(wire).subspan(kFrameHeaderBytes + 80)) {
    session_.receive_buffer()[0] = byte;
    session_.received(1);
  }
  clock_.advance_ns(1000 * kMs);
  session_.on_timer();
  EXPECT_EQ(std::get<PutAbortedEvent>(*session_.next_event()).id, begin.info.id);
}

TEST_F(SessionTest, DrainAnswersWhatIsInFlightThenSaysGoodbye) {
  auto event = hold<RequestEvent>(session_, request(MessageType::stats, 5, StatsRequest()));
  session_.drain();
  EXPECT_FALSE(session_.closed());
  EXPECT_TRUE(session_.receive_buffer().empty());
  session_.reply(event.info.id, StatsReply());
  auto replies = answers();
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[0].header.type, MessageType::stats);
  EXPECT_EQ(replies[1].header.type, MessageType::goodbye);
  EXPECT_EQ(replies[1].status(), Errc::draining);
  EXPECT_TRUE(session_.closed());
  EXPECT_EQ(session_.error(), nullptr);
}

TEST_F(SessionTest, ARequestHalfReceivedWhenDrainingIsRefused) {
  Bytes wire = request(MessageType::stats, 5, StatsRequest());
  feed(session_, service_, ByteSpan(wire).first(10));
  session_.drain();
  EXPECT_FALSE(session_.closed());
  auto replies = ask(ByteSpan(wire).subspan(10));
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[0].status(), Errc::draining);
  EXPECT_EQ(replies[1].header.type, MessageType::goodbye);
  EXPECT_EQ(session_.error(), nullptr);
}

TEST_F(SessionTest, ThePeerMayLeaveWhenNothingIsUnderWay) {
  session_.received_end();
  EXPECT_TRUE(session_.closed());
  EXPECT_EQ(session_.error(), nullptr);
  EXPECT_EQ(session_.next_timer_ns(), UINT64_MAX);
}

TEST_F(SessionTest, AReplyOutsideTheLimitsBecomesAnError) {
  auto event = hold<RequestEvent>(session_, request(MessageType::stats, 5, StatsRequest()));
  session_.reply(event.info.id, StatsReply{.stats = std::vector<Stat>(kStatsMax + 1)});
  EXPECT_EQ(frames_of(drain_output(session_)).at(0).status(), Errc::too_large);
}

}  // namespace
}  // namespace sluice::transport
