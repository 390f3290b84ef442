// The client's half against the daemon's half in one thread, and against a peer that lies.
#include "transport/requester.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <map>
#include <vector>

#include "tests/transport/memory_sink.h"
#include "tests/transport/sample_service.h"
#include "tests/transport/wire_bytes.h"

namespace sluice::transport {
namespace {

constexpr CallOptions kOptions{.deadline_ns = 8'000'000'000};

struct Loopback {
  explicit Loopback(size_t chunk) {
    auto stream = std::make_unique<LoopbackStream>(session, service, chunk);
    wire = stream.get();
    requester = std::make_unique<Requester>(std::move(stream), clock);
  }

  ManualClock clock;
  SampleService service;
  Session session{SessionLimits(), clock};
  LoopbackStream* wire = nullptr;
  std::unique_ptr<Requester> requester;
};

class RequesterLoopback : public testing::TestWithParam<size_t> {};

INSTANTIATE_TEST_SUITE_P(Chunks, RequesterLoopback, testing::Values(1, 1000, 1 << 20));

TEST_P(RequesterLoopback, EveryRequestComesBack) {
  Loopback l(GetParam());
  auto hello = l.requester->hello(HelloRequest{.software = "test"}, kOptions);
  ASSERT_FALSE(hello.has_error()) << hello.error().to_string();
  EXPECT_EQ(hello->software, "sample 1");
  EXPECT_EQ(l.requester->open({.descriptor = {1, 2}}, kOptions)->space_id, sha256(Bytes{1, 2}));
  Bytes page = random_bytes(3000, 1);
  PutRequest put{.handle = 7, .key = key_of(1), .page_bytes = page.size()};
  std::array<ByteSpan, 3> pieces = {
      ByteSpan(page).first(10), ByteSpan(), ByteSpan(page).subspan(10)};
  EXPECT_EQ(l.requester->put(put, pieces, kOptions)->outcome, PutOutcome::stored);
  EXPECT_EQ(l.requester->put(put, pieces, kOptions)->outcome, PutOutcome::unchanged);
  LookupRequest lookup{.groups = {{.handle = 7, .keys = {key_of(1), key_of(2)}}}};
  EXPECT_EQ(l.requester->lookup(lookup, kOptions)->groups[0].pages.at(0).stored_bytes, 3000u);
  EXPECT_EQ(l.requester->stats(kOptions)->stats.at(0).value, 1u);
  EXPECT_TRUE(l.requester->damaged({.handle = 7, .key = key_of(1)}, kOptions)->quarantined);
  EXPECT_EQ(l.requester->erase({.handle = 7, .keys = {key_of(1)}}, kOptions)->deleted_pages, 0u);
  EXPECT_EQ(l.requester->lookup(lookup, kOptions)->miss_reason, "dtype: f16 here, bf16 there");
}

TEST_P(RequesterLoopback, GetFillsTheMemoryOfTheSink) {
  Loopback l(GetParam());
  ASSERT_FALSE(l.requester->hello({}, kOptions).has_error());
  l.service.store(key_of(1), random_bytes(5000, 1));
  l.service.store(key_of(3), random_bytes(70'000, 3));
  GetRequest get{.handle = 7,
                 .pages = {{.key = key_of(1)}, {.key = key_of(2)}, {.key = key_of(3)}}};
  MemorySink sink;
  ASSERT_FALSE(l.requester->get(get, sink, kOptions).has_error());
  EXPECT_EQ(sink.pages[0], random_bytes(5000, 1));
  EXPECT_EQ(sink.pages[2], random_bytes(70'000, 3));
  EXPECT_EQ(sink.missing[1], Errc::not_found);
  EXPECT_EQ(sink.ended, 2u);
  sink = MemorySink();
  sink.pass_over = 2;
  ASSERT_FALSE(l.requester->get(get, sink, kOptions).has_error());
  EXPECT_EQ(sink.pages[0], random_bytes(5000, 1));
  EXPECT_EQ(sink.ended, 1u);
}

TEST(Requester, AProfileTravelsInPieces) {
  Loopback l(4096);
  ASSERT_FALSE(l.requester->hello({}, kOptions).has_error());
  const Bytes file = random_bytes(9000, 1);
  PutProfileRequest put{.digest = key_of(1), .profile_bytes = 9000};
  for (uint32_t end : {0u, 4000u, 9000u}) {
    put.piece.assign(file.begin() + put.offset, file.begin() + end);
    auto reply = l.requester->put_profile(put, kOptions);
    ASSERT_TRUE(reply.has_value()) << reply.error().to_string();
    EXPECT_EQ(reply->next_offset, end);
    put.offset = end;
  }
  auto got = l.requester->get_profile({.digest = key_of(1), .offset = 4000}, kOptions);
  EXPECT_EQ(got->profile_bytes, 9000u);
  EXPECT_EQ(got->piece, Bytes(file.begin() + 4000, file.end()));
  EXPECT_EQ(l.requester->get_profile({.digest = key_of(2)}, kOptions).error().code,
            Errc::not_found);
  EXPECT_TRUE(l.requester->usable());
}

TEST(Requester, SeveralPutsAreUnderWayAndEachAnswerNamesItsOwn) {
  Loopback l(4096);
  ASSERT_FALSE(l.requester->hello({}, kOptions).has_error());
  const Bytes page = random_bytes(3000, 1);
  const ByteSpan whole = page;
  std::vector<uint64_t> numbers;
  for (uint8_t i : std::array<uint8_t, 3>{1, 2, 1}) {
    const PutRequest put{.handle = 7, .key = key_of(i), .page_bytes = page.size()};
    numbers.push_back(*l.requester->send_put(put, {&whole, 1}, kOptions));
  }
  const PutRequest refused{.handle = 1, .key = key_of(1), .page_bytes = page.size()};
  numbers.push_back(*l.requester->send_put(refused, {&whole, 1}, kOptions));
  std::map<uint64_t, Result<PutReply>> answers;
  for (size_t i = 0; i < numbers.size(); ++i) {
    Result<PutAnswer> answer = l.requester->receive_put(kOptions);
    ASSERT_TRUE(answer.has_value()) << answer.error().to_string();
    answers.emplace(answer->number, answer->reply);
  }
  EXPECT_EQ(answers.at(numbers[0])->outcome, PutOutcome::stored);
  EXPECT_EQ(answers.at(numbers[1])->outcome, PutOutcome::stored);
  EXPECT_EQ(answers.at(numbers[2])->outcome, PutOutcome::unchanged);
  EXPECT_EQ(answers.at(numbers[3]).error().code, Errc::no_space);
  EXPECT_TRUE(l.requester->usable());
}

TEST(Requester, AnAnsweredErrorLeavesTheConnectionUsable) {
  Loopback l(4096);
  ASSERT_FALSE(l.requester->hello({}, kOptions).has_error());
  Bytes page(2'500'000);
  PutRequest put{.handle = 1, .key = key_of(1), .page_bytes = page.size()};
  auto refused = l.requester->put(put, std::array<ByteSpan, 1>{page}, kOptions);
  EXPECT_EQ(refused.error().code, Errc::no_space);
  EXPECT_EQ(refused.error().text, "the store is full");
  MemorySink sink;
  GetRequest get{.handle = 8, .pages = {{.key = key_of(1)}}};
  EXPECT_EQ(l.requester->get(get, sink, kOptions).error().code, Errc::unknown_handle);
  EXPECT_TRUE(l.requester->usable());
  EXPECT_FALSE(l.requester->stats(kOptions).has_error());
}

TEST(Requester, WhatIsNoRequestIsNotSent) {
  Loopback l(4096);
  ASSERT_FALSE(l.requester->hello({}, kOptions).has_error());
  MemorySink sink;
  EXPECT_EQ(l.requester->get({}, sink, kOptions).error().code, Errc::bad_value);
  EXPECT_EQ(l.requester->put({.page_bytes = 5}, {}, kOptions).error().code, Errc::invalid_argument);
  EXPECT_EQ(
      l.requester->open({.descriptor = Bytes(kDescriptorBytesMax + 1)}, kOptions).error().code,
      Errc::too_large);
  EXPECT_TRUE(l.requester->usable());
}

TEST(Requester, APutCutAnywhereLeavesNothing) {
  Bytes page = random_bytes(3000, 1);
  PutRequest put{.handle = 7, .key = key_of(1), .page_bytes = page.size()};
  for (size_t cut = 1; cut < 3200; cut += 111) {
    Loopback l(500);
    ASSERT_FALSE(l.requester->hello({}, kOptions).has_error());
    l.wire->cut_after(cut);
    auto reply = l.requester->put(put, std::array<ByteSpan, 1>{page}, kOptions);
    EXPECT_EQ(reply.error().code, Errc::connection_lost);
    EXPECT_FALSE(l.requester->usable());
    EXPECT_TRUE(l.service.pages().empty());
    EXPECT_EQ(l.requester->stats(kOptions).error().code, Errc::connection_lost);
  }
}

TEST(Requester, LearnsWhyTheDaemonClosed) {
  Loopback l(4096);
  ASSERT_FALSE(l.requester->hello({}, kOptions).has_error());
  l.session.drain();
  auto stats = l.requester->stats(kOptions);
  EXPECT_EQ(stats.error().code, Errc::draining);
  EXPECT_EQ(stats.error().text, "the daemon is shutting down");
  EXPECT_FALSE(l.requester->usable());
}

TEST(Requester, SendsSevenEighthsOfItsDeadline) {
  Loopback l(4096);
  ASSERT_FALSE(l.requester->hello({}, kOptions).has_error());
  EXPECT_FALSE(l.requester->stats({.deadline_ns = 800'000'000}).has_error());
  EXPECT_FALSE(l.requester->stats({.deadline_ns = UINT64_MAX}).has_error());
}

// Plays back bytes, whatever is asked.
class ScriptedStream final : public ByteStream {
 public:
  explicit ScriptedStream(Bytes bytes) : bytes_(bytes.begin(), bytes.end()) {}

 private:
  Result<size_t> do_send_some(std::span<const ByteSpan> pieces, uint64_t) override {
    return pieces[0].size();
  }

  Result<size_t> do_receive_some(MutByteSpan out, uint64_t) override {
    if (bytes_.empty()) {
      return SLUICE_ERR(Errc::timed_out, "script: nothing more");
    }
    out[0] = bytes_.front();
    bytes_.pop_front();
    return 1;
  }

  void do_close() override {}

  std::deque<uint8_t> bytes_;
};

// The error of a STATS request that is answered with `bytes`; the connection must be given up.
Errc stats_answered(const Bytes& bytes) {
  ManualClock clock;
  Requester requester(std::make_unique<ScriptedStream>(bytes), clock);
  auto reply = requester.stats(kOptions);
  EXPECT_EQ(requester.usable(), !reply.has_error());
  return reply.has_error() ? reply.error().code : Errc::ok;
}

FrameHeader reply_header(MessageType type) {
  return {.type = type, .flags = kFlagReply | kFlagLast, .request_id = 1};
}

Bytes goodbye(uint32_t status) {
  FrameHeader header = reply_header(MessageType::goodbye);
  header.request_id = 0;
  header.status = status;
  return frame(header, as_bytes("why"));
}

// An error with the code ok would tell callers that all went well.
TEST(Requester, AGoodbyeWithoutAReasonIsAnErrorToo) {
  EXPECT_EQ(stats_answered(goodbye(static_cast<uint32_t>(Errc::draining))), Errc::draining);
  EXPECT_EQ(stats_answered(goodbye(9999)), Errc::protocol_error);
  EXPECT_EQ(stats_answered(goodbye(0)), Errc::protocol_error);
}

TEST(Requester, ALyingPeerIsGivenUp) {
  FrameHeader good = reply_header(MessageType::stats);
  Bytes payload = *encode(StatsReply());
  EXPECT_EQ(stats_answered(frame(good, payload)), Errc::ok);
  EXPECT_EQ(stats_answered({}), Errc::timed_out);
  EXPECT_EQ(stats_answered(random_bytes(64, 1)), Errc::bad_magic);
  Bytes damaged = frame(good, payload);
  damaged.back() ^= 1;
  EXPECT_EQ(stats_answered(damaged), Errc::bad_checksum);
  EXPECT_EQ(stats_answered(frame(good, Bytes(3))), Errc::truncated);
  auto changed = [&](auto change) {
    FrameHeader header = good;
    change(header);
    return stats_answered(frame(header, payload));
  };
  EXPECT_EQ(changed([](FrameHeader& h) { h.request_id = 2; }), Errc::protocol_error);
  EXPECT_EQ(changed([](FrameHeader& h) { h.type = MessageType::get; }), Errc::protocol_error);
  EXPECT_EQ(changed([](FrameHeader& h) { h.frame_index = 1; }), Errc::protocol_error);
  EXPECT_EQ(changed([](FrameHeader& h) { h.flags = kFlagReply; }), Errc::protocol_error);
  EXPECT_EQ(changed([](FrameHeader& h) {
              h.flags = kFlagLast;
              h.deadline_ms = 1;
            }),
            Errc::protocol_error);
}

// The error of a GET of two pages that is answered with `bytes`.
Errc get_answered(const Bytes& bytes) {
  ManualClock clock;
  Requester requester(std::make_unique<ScriptedStream>(bytes), clock);
  MemorySink sink;
  GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}, {.key = key_of(2)}}};
  auto status = requester.get(get, sink, kOptions);
  EXPECT_EQ(requester.usable(), !status.has_error());
  return status.has_error() ? status.error().code : Errc::ok;
}

struct Script {
  Bytes bytes;
  uint32_t index = 0;

  Script& add(uint16_t flags, ByteSpan payload) {
    FrameHeader header = reply_header(MessageType::get);
    header.flags = kFlagReply | flags;
    header.frame_index = index++;
    Bytes more = frame(header, payload);
    bytes.insert(bytes.end(), more.begin(), more.end());
    return *this;
  }

  Script& meta(const PageMeta& meta, uint16_t flags = 0) { return add(flags, *encode(meta)); }
};

TEST(Requester, PageStreamsOutOfPlaceAreGivenUp) {
  PageMeta zero{.page_index = 0, .header_bytes = 4, .body_bytes = 6};
  PageMeta missing{.page_index = 1, .status = Errc::not_found};
  Bytes page(10);
  EXPECT_EQ(get_answered(Script().meta(zero).add(kFlagPageBytes, page).meta(missing, 2).bytes),
            Errc::ok);
  EXPECT_EQ(get_answered(Script().meta(missing).meta(zero).add(kFlagPageBytes | 2, page).bytes),
            Errc::ok);
  EXPECT_EQ(get_answered(Script().meta(missing).meta(missing, 2).bytes), Errc::protocol_error);
  EXPECT_EQ(get_answered(Script().meta(missing, 2).bytes), Errc::protocol_error);
  EXPECT_EQ(get_answered(Script().meta(zero).add(kFlagPageBytes, Bytes(11)).bytes),
            Errc::protocol_error);
  EXPECT_EQ(get_answered(Script().meta(zero).add(kFlagPageBytes | 2, page).bytes),
            Errc::protocol_error);
  EXPECT_EQ(get_answered(Script().meta(zero).meta(missing).bytes), Errc::protocol_error);
  EXPECT_EQ(get_answered(Script().add(kFlagPageBytes, page).bytes), Errc::protocol_error);
  EXPECT_EQ(get_answered(Script().meta({.page_index = 2, .header_bytes = 4}).bytes),
            Errc::protocol_error);
  EXPECT_EQ(get_answered(Script().add(0, Bytes(20)).bytes), Errc::truncated);
  EXPECT_EQ(get_answered(Script().meta(zero).add(kFlagPageBytes, Bytes(3)).bytes), Errc::timed_out);
}

TEST(Requester, ASinkWithTheWrongMemoryEndsTheConnection) {
  Loopback l(4096);
  ASSERT_FALSE(l.requester->hello({}, kOptions).has_error());
  l.service.store(key_of(1), random_bytes(5000, 1));
  MemorySink sink;
  sink.short_by = 1;
  GetRequest get{.handle = 7, .pages = {{.key = key_of(1)}}};
  EXPECT_EQ(l.requester->get(get, sink, kOptions).error().code, Errc::invalid_argument);
  EXPECT_FALSE(l.requester->usable());
}

}  // namespace
}  // namespace sluice::transport
