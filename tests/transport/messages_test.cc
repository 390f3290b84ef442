#include "transport/messages.h"

#include <gtest/gtest.h>

#include "tests/transport/sample_messages.h"

namespace sluice::transport {
namespace {

template <class Visit>
void for_each_sample(Visit visit) {
  std::apply([&](const auto&... message) { (visit(message), ...); }, sample_messages());
}

template <class Message>
Errc refusal(ByteSpan bytes) {
  auto parsed = parse<Message>(bytes);
  return parsed.has_error() ? parsed.error().code : Errc::ok;
}

template <class Message>
Errc encode_refusal(const Message& message) {
  auto encoded = encode(message);
  return encoded.has_error() ? encoded.error().code : Errc::ok;
}

TEST(Messages, RoundTrip) {
  for_each_sample([]<class M>(const M& message) {
    Bytes bytes = *encode(message);
    EXPECT_EQ(*parse<M>(bytes), message);
    EXPECT_EQ(*encode(*parse<M>(bytes)), bytes);
  });
}

TEST(Messages, EveryShorterInputIsTruncated) {
  for_each_sample([]<class M>(const M& message) {
    Bytes bytes = *encode(message);
    for (size_t n = 0; n < bytes.size(); ++n) {
      EXPECT_EQ(refusal<M>(ByteSpan(bytes).first(n)), Errc::truncated) << n;
    }
  });
}

TEST(Messages, BytesLeftOverAreRefused) {
  for_each_sample([]<class M>(const M& message) {
    Bytes bytes = *encode(message);
    bytes.push_back(0);
    EXPECT_EQ(refusal<M>(bytes), Errc::bad_value);
  });
}

// Flips of single bytes: whatever is still accepted says the same when it is encoded again, so no
// byte of a message is ignored.
TEST(Messages, NoByteIsIgnored) {
  for_each_sample([]<class M>(const M& message) {
    Bytes bytes = *encode(message);
    for (size_t i = 0; i < bytes.size(); ++i) {
      Bytes changed = bytes;
      changed[i] ^= 0x41;
      if (auto parsed = parse<M>(changed); !parsed.has_error()) {
        EXPECT_EQ(*encode(*parsed), changed) << "byte " << i;
      }
    }
  });
}

// What a daemon says may end up in a log, or on a terminal.
TEST(Messages, TextThatIsNotPrintableIsRefused) {
  for (const char bad : {'\0', '\n', '\x1b', '\x7f', '\x9b', '\xff'}) {
    Bytes lookup = *encode(LookupReply{.groups = {{}}, .miss_reason = "why"});
    lookup.back() = static_cast<uint8_t>(bad);
    EXPECT_EQ(refusal<LookupReply>(lookup), Errc::bad_value);
    Bytes hello = *encode(HelloReply{.request_credit_bytes = kCreditBytesMin,
                                     .reply_credit_bytes = kCreditBytesMin,
                                     .software = "sluiced"});
    hello.back() = static_cast<uint8_t>(bad);
    EXPECT_EQ(refusal<HelloReply>(hello), Errc::bad_value);
    Bytes stats = *encode(StatsReply{.stats = {{.name = "hits"}}});
    stats.back() = static_cast<uint8_t>(bad);
    EXPECT_EQ(refusal<StatsReply>(stats), Errc::bad_value);
  }
}

TEST(Messages, HugeCountsAreRefusedBeforeAnythingIsAllocated) {
  ByteWriter lookup;
  lookup.write(uint32_t{0}).write(uint32_t{1});
  lookup.write(uint32_t{0}).write(uint32_t{0}).write(uint32_t{0xffffffff}).write_zeros(4);
  EXPECT_EQ(refusal<LookupRequest>(lookup.bytes()), Errc::truncated);
  ByteWriter erase;
  erase.write(uint32_t{0}).write(uint32_t{0xffffffff});
  EXPECT_EQ(refusal<DeleteRequest>(erase.bytes()), Errc::too_large);
  ByteWriter get;
  get.write_zeros(16).write(uint32_t{0xffffffff}).write_zeros(4);
  EXPECT_EQ(refusal<GetRequest>(get.bytes()), Errc::too_large);
}

TEST(Messages, TheLargestOnesFitOneFrame) {
  GetRequest get{.pages = std::vector<GetPageRequest>(kKeysMax)};
  EXPECT_LE(encode(get)->size(), kFramePayloadBytesMax);
  LookupRequest lookup{.groups = std::vector<LookupGroup>(kLookupGroupsMax)};
  lookup.groups[0].keys.resize(kKeysMax);
  EXPECT_LE(encode(lookup)->size(), kFramePayloadBytesMax);
  LookupReply reply{.groups = std::vector<LookupGroupReply>(kLookupGroupsMax),
                    .miss_reason = std::string(kTextBytesMax, 'x')};
  reply.groups[0].pages.resize(kKeysMax);
  EXPECT_LE(encode(reply)->size(), kFramePayloadBytesMax);
  const PutProfileRequest put{.profile_bytes = kProfileBytesMax,
                              .piece = Bytes(kProfilePieceBytesMax)};
  EXPECT_LE(encode(put)->size(), kFramePayloadBytesMax);
}

TEST(Messages, ProfilesComeInPiecesThatFit) {
  using Put = PutProfileRequest;
  const uint32_t piece = kProfilePieceBytesMax;
  EXPECT_EQ(encode_refusal(Put{.profile_bytes = 0}), Errc::bad_value);
  EXPECT_EQ(encode_refusal(Put{.profile_bytes = kProfileBytesMax + 1}), Errc::too_large);
  EXPECT_EQ(encode_refusal(Put{.profile_bytes = 9, .offset = 10}), Errc::too_large);
  EXPECT_EQ(encode_refusal(Put{.profile_bytes = 9, .offset = 8, .piece = Bytes(2)}),
            Errc::too_large);
  EXPECT_EQ(encode_refusal(Put{.profile_bytes = 4 * piece, .piece = Bytes(piece + 1)}),
            Errc::too_large);
  using Reply = GetProfileReply;
  EXPECT_EQ(encode_refusal(Reply{.profile_bytes = 9}), Errc::bad_value);
  EXPECT_EQ(encode_refusal(Reply{.piece = Bytes(1)}), Errc::bad_value);
  EXPECT_EQ(encode_refusal(Reply{.profile_bytes = kProfileBytesMax + 1, .piece = Bytes(1)}),
            Errc::too_large);
  EXPECT_EQ(encode_refusal(Reply{.profile_bytes = 4 * piece, .piece = Bytes(piece + 1)}),
            Errc::too_large);
}

TEST(Messages, TheLargestHelloIsAllThatAStrangerMaySend) {
  HelloRequest hello{.software = std::string(kSoftwareBytesMax, 's'),
                     .token = std::string(kTokenBytesMax, 't')};
  EXPECT_EQ(encode(hello)->size(), kHelloBytesMax);
}

TEST(Messages, LimitsHoldBeforeSending) {
  EXPECT_EQ(encode_refusal(GetRequest{}), Errc::bad_value);
  EXPECT_EQ(encode_refusal(GetRequest{.pages = std::vector<GetPageRequest>(kKeysMax + 1)}),
            Errc::too_large);
  EXPECT_EQ(encode_refusal(GetRequest{.first_layer = 1, .pages = {{}}}), Errc::too_large);
  EXPECT_EQ(encode_refusal(GetRequest{.pages = {{.first_row = 256}}}), Errc::too_large);
  EXPECT_EQ(encode_refusal(GetRequest{.pages = {{.least_rows = 256}}}), Errc::too_large);
  EXPECT_EQ(encode_refusal(GetRequest{.first_layer = 1, .layer_count = kLayersMax, .pages = {{}}}),
            Errc::too_large);
  EXPECT_EQ(encode_refusal(LookupRequest{}), Errc::bad_value);
  LookupRequest lookup{.groups = std::vector<LookupGroup>(2)};
  lookup.groups[0].keys.resize(kKeysMax);
  lookup.groups[1].keys.resize(1);
  EXPECT_EQ(encode_refusal(lookup), Errc::too_large);
  EXPECT_EQ(encode_refusal(OpenRequest{}), Errc::bad_value);
  EXPECT_EQ(encode_refusal(OpenRequest{.descriptor = Bytes(kDescriptorBytesMax + 1)}),
            Errc::too_large);
  EXPECT_EQ(encode_refusal(PutRequest{}), Errc::bad_value);
  EXPECT_EQ(encode_refusal(PutRequest{.page_bytes = kPageBytesMax + 1}), Errc::too_large);
  EXPECT_EQ(encode_refusal(DeleteRequest{}), Errc::bad_value);
  EXPECT_EQ(encode_refusal(HelloRequest{.software = "a\nb"}), Errc::bad_value);
  EXPECT_EQ(encode_refusal(HelloRequest{.software = std::string(200, 'x')}), Errc::too_large);
  EXPECT_EQ(encode_refusal(HelloRequest{.token = std::string(kTokenBytesMin - 1, 'x')}),
            Errc::bad_value);
  EXPECT_EQ(encode_refusal(HelloRequest{.token = std::string(kTokenBytesMax + 1, 'x')}),
            Errc::too_large);
  EXPECT_EQ(encode_refusal(HelloRequest{.token = std::string(kTokenBytesMin, '\t')}),
            Errc::bad_value);
  EXPECT_EQ(encode_refusal(LookupReply{.groups = {{}}, .miss_reason = "a\x1b[2J"}),
            Errc::bad_value);
  EXPECT_EQ(encode_refusal(
                LookupReply{.groups = {{}}, .miss_reason = std::string(kTextBytesMax + 1, 'x')}),
            Errc::too_large);
  EXPECT_EQ(encode_refusal(HelloRequest{.version_min = 3, .version_max = 2}), Errc::bad_value);
  EXPECT_EQ(encode_refusal(StatsReply{.stats = std::vector<Stat>(kStatsMax + 1)}), Errc::too_large);
}

TEST(PageMeta, APageThatDoesNotComeHasNoSizes) {
  EXPECT_EQ(encode_refusal(PageMeta{.status = Errc::not_found, .header_bytes = 1}),
            Errc::bad_value);
  EXPECT_EQ(encode_refusal(PageMeta{.header_bytes = 1, .body_bytes = kPageBytesMax}),
            Errc::too_large);
  EXPECT_EQ(encode_refusal(PageMeta{}), Errc::bad_value);
}

TEST(Errors, TextIsCutAndMadePrintable) {
  Error error = parse_error(61, as_bytes("full\n\x1b[2J"));
  EXPECT_EQ(error.code, Errc::no_space);
  EXPECT_EQ(error.text, "full??[2J");
  EXPECT_EQ(parse_error(9999, {}).code, Errc::protocol_error);
  EXPECT_EQ(parse_error(0, {}).code, Errc::protocol_error)
      << "an error cannot say that all is well";
  EXPECT_EQ(parse_error(61, Bytes(9000, 'x')).text.size(), kTextBytesMax);
  const Bytes sent = encode_error(SLUICE_ERR(Errc::no_space, "full\n\x1b[2J\xff"));
  EXPECT_EQ(std::string(sent.begin(), sent.end()), "full??[2J?");
  EXPECT_EQ(encode_error(SLUICE_ERR(Errc::no_space, "{}", std::string(9000, 'x'))).size(),
            kTextBytesMax);
}

}  // namespace
}  // namespace sluice::transport
