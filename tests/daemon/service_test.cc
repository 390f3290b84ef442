// The service behind sessions that are fed by hand: no sockets, and a clock that the test turns.
#include "src/daemon/service.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>

#include "codec/codec.h"
#include "src/model/chain.h"
#include "src/model/descriptor.h"
#include "tests/transport/wire_bytes.h"

namespace sluice::daemon {
namespace {

using transport::MessageType;

constexpr uint64_t kNsPerMs = 1'000'000;

Descriptor descriptor() {
  Descriptor out;
  out.layers = {0};
  out.heads = 1;
  out.planes = {{.role = PlaneRole::k, .dtype = DType::f16, .heads = 1, .dim = 8}};
  return out;
}

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cache::PageCacheConfig config;
    config.ram.capacity_bytes = 16 << 20;
    cache_ = *cache::PageCache::open(std::move(config));
    service_ = std::make_unique<Service>(*cache_, log_);
    service_->on_open(session_, transport::Peer());
    const transport::HelloRequest hello{.self_test = chain_self_test()};
    ASSERT_TRUE(ask<transport::HelloReply>(MessageType::hello, hello).has_value());
  }

  // The error of the reply that comes, or its message.
  template <class Reply, class Request>
  Result<Reply> ask(MessageType type, const Request& request) {
    transport::feed(session_, *service_, transport::request(type, ++requests_, request));
    const auto frames = transport::frames_of(transport::drain_output(session_));
    EXPECT_EQ(frames.size(), 1u);
    return frames.at(0).header.status == 0
               ? transport::parse<Reply>(frames.at(0).payload)
               : transport::parse_error(frames.at(0).header.status, frames.at(0).payload);
  }

  uint32_t open(const Descriptor& space) {
    const transport::OpenRequest request{.descriptor = *encode_descriptor(space)};
    return ask<transport::OpenReply>(MessageType::open, request)->handle;
  }

  ManualClock clock_;
  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::null_sink_st>()};
  std::unique_ptr<cache::PageCache> cache_;
  std::unique_ptr<Service> service_;
  transport::Session session_{transport::SessionLimits(), clock_};
  uint64_t requests_ = 0;
};

TEST_F(ServiceTest, AProfileComesInPiecesAndGoesOutInPieces) {
  const Bytes file(700'000, 7);
  const auto bytes = static_cast<uint32_t>(file.size());
  transport::PutProfileRequest put{.digest = sha256(file), .profile_bytes = bytes};
  ASSERT_GT(bytes, transport::kProfilePieceBytesMax);
  for (uint32_t end : {0u, transport::kProfilePieceBytesMax, bytes, bytes}) {
    put.piece.assign(file.begin() + put.offset, file.begin() + end);
    const auto reply = ask<transport::PutProfileReply>(MessageType::put_profile, put);
    ASSERT_TRUE(reply.has_value()) << reply.error().to_string();
    EXPECT_EQ(reply->next_offset, end);
    put.offset = end;
  }
  transport::GetProfileRequest get{.digest = sha256(file)};
  Bytes got;
  while (got.size() < file.size()) {
    get.offset = static_cast<uint32_t>(got.size());
    const auto reply = ask<transport::GetProfileReply>(MessageType::get_profile, get);
    ASSERT_TRUE(reply.has_value()) << reply.error().to_string();
    EXPECT_EQ(reply->profile_bytes, bytes);
    got.insert(got.end(), reply->piece.begin(), reply->piece.end());
  }
  EXPECT_EQ(got, file);
  get.offset = bytes;
  EXPECT_EQ(ask<transport::GetProfileReply>(MessageType::get_profile, get).error().code,
            Errc::too_large);
  get.digest[0] ^= 1;
  EXPECT_EQ(ask<transport::GetProfileReply>(MessageType::get_profile, get).error().code,
            Errc::not_found);
}

// The lists of two descriptors can be longer than a reply may be.
TEST_F(ServiceTest, AMissIsNoErrorHoweverMuchIsToBeSaidOfIt) {
  const Descriptor stored = descriptor();
  codec::Workspace workspace;
  const codec::PageSpec spec{.page_key = transport::key_of(1), .geometry = geometry(stored)};
  Bytes page(*codec::encode_bound(spec.geometry));
  page.resize(*codec::encode_page(spec, Bytes(spec.geometry.bytes()), page, workspace));
  const transport::PutRequest put{
      .handle = open(stored), .key = spec.page_key, .page_bytes = page.size()};
  transport::feed(session_, *service_, transport::put_frames(++requests_, put, page, page.size()));
  ASSERT_EQ(transport::frames_of(transport::drain_output(session_)).at(0).status(), Errc::ok);
  Descriptor other = stored;
  for (uint32_t layer = 2; layer < 4000; layer += 2) {
    other.layers.push_back(layer);
  }
  const transport::LookupRequest lookup{
      .groups = {{.handle = open(other), .keys = {transport::key_of(2)}}}};
  const auto reply = ask<transport::LookupReply>(MessageType::lookup, lookup);
  ASSERT_TRUE(reply.has_value()) << reply.error().to_string();
  EXPECT_EQ(reply->miss_reason.size(), transport::kTextBytesMax);
}

TEST_F(ServiceTest, APutThatMissesItsDeadlineIsCountedOnce) {
  const Bytes page(1000);
  const transport::PutRequest put{
      .handle = open(descriptor()), .key = transport::key_of(1), .page_bytes = page.size()};
  const Bytes wire = transport::put_frames(++requests_, put, page, 100);
  transport::feed(session_, *service_, ByteSpan(wire).first(wire.size() - 1));
  clock_.advance_ns(1001 * kNsPerMs);
  session_.on_timer();
  transport::feed(session_, *service_, ByteSpan(wire).last(1));
  const auto frames = transport::frames_of(transport::drain_output(session_));
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].status(), Errc::timed_out);
  const RequestStats counted = service_->stats().requests;
  EXPECT_EQ(counted.refused, (decltype(counted.refused){{{Op::put, Errc::timed_out}, 1}}));
  EXPECT_EQ(cache_->stats().ram.reserved_bytes, 0u);
}

}  // namespace
}  // namespace sluice::daemon
