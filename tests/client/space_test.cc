// Spaces against a real daemon in a thread, and against one that lies.
#include "src/client/space.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <thread>

#include "src/base/limits.h"
#include "src/base/prng.h"
#include "tests/cache/cache_calls.h"
#include "tests/support/test_daemon.h"

namespace sluice::client {
namespace {

constexpr uint32_t kTokens = 32;
constexpr uint32_t kDeadlineMs = 500;  // of the client that meets a daemon that lies

Descriptor descriptor(DType dtype = DType::f16) {
  Descriptor out;
  out.model_digest[0] = 7;
  out.layers = {0, 1, 2};
  out.heads = 2;
  out.planes = {{.role = PlaneRole::k, .dtype = dtype, .heads = 2, .dim = 8, .rotated_dims = 8},
                {.role = PlaneRole::v, .dtype = dtype, .heads = 2, .dim = 8, .rotated_dims = 0}};
  out.rope = {.pairing = RopePairing::neox, .base = 10000};
  out.page_tokens = kTokens;
  return out;
}

Bytes random_bytes(size_t count, uint64_t seed) {
  Prng prng(seed);
  Bytes out(count);
  for (uint8_t& byte : out) {
    byte = static_cast<uint8_t>(prng.next());
  }
  return out;
}

std::vector<uint32_t> tokens(size_t count) {
  std::vector<uint32_t> out(count);
  for (size_t i = 0; i < count; ++i) {
    out[i] = static_cast<uint32_t>(i * 3 + 1);
  }
  return out;
}

// Pages next to each other in memory, starting at the root.
class Pages final : public PageTarget {
 public:
  explicit Pages(size_t page_bytes, size_t count = 16)
      : page_bytes_(page_bytes), bytes(page_bytes * count) {}

  MutByteSpan tensors(uint32_t page) override {
    return MutByteSpan(bytes).subspan(page * page_bytes_, page_bytes_);
  }

  Status done(uint32_t) override { return {}; }

 private:
  size_t page_bytes_;

 public:
  Bytes bytes;
};

class SpaceTest : public ::testing::Test {
 protected:
  void SetUp() override { daemon_.start(); }

  void connect(uint32_t deadline_ms = 5000) {
    auto client = Client::open({.address = socket_, .deadline_ms = deadline_ms});
    ASSERT_TRUE(client.has_value()) << client.error().to_string();
    client_ = *std::move(client);
    space_ = open(descriptor());
  }

  std::unique_ptr<Space> open(const Descriptor& what, uint32_t worst_kl = 0) {
    auto space = Space::open(*client_, *encode_descriptor(what), {.worst_kl = worst_kl});
    EXPECT_TRUE(space.has_value()) << space.error().to_string();
    return space.has_value() ? *std::move(space) : nullptr;
  }

  // Puts n pages of random tensors from the root; returns the tensors.
  Bytes put(Space& space, size_t n, Transfer& moved) {
    Bytes bytes = random_bytes(n * space.page_bytes(), 5);
    std::vector<Hash32> keys = space.keys(tokens(n * kTokens));
    std::vector<Hash32> anchors(keys.begin(), keys.end() - 1);
    anchors.insert(anchors.begin(), kRootKey);
    auto load = [&](uint32_t page) -> Result<ByteSpan> {
      return ByteSpan(bytes).subspan(page * space.page_bytes(), space.page_bytes());
    };
    Status done =
        space.put({.keys = keys, .first_page = 0}, anchors, load, transport::Ack::ram, moved);
    EXPECT_TRUE(done.has_value()) << done.error().to_string();
    return bytes;
  }

  testing::TempFolder folder_;
  std::string socket_ = folder_.file("s.sock");
  testing::TestDaemon daemon_{socket_};
  std::unique_ptr<Client> client_;
  std::unique_ptr<Space> space_;
};

TEST_F(SpaceTest, GetReturnsThePutTensors) {
  connect();
  Transfer moved;
  Bytes tensors = put(*space_, 5, moved);
  EXPECT_EQ(moved.pages, 5u);
  EXPECT_EQ(moved.raw_bytes, tensors.size());
  Pages out(space_->page_bytes());
  Transfer got;
  std::vector<Hash32> keys = space_->keys(tokens(8 * kTokens));
  Result<size_t> whole = space_->get({.keys = keys, .first_page = 0}, {}, out, got);
  ASSERT_TRUE(whole.has_value()) << whole.error().to_string();
  EXPECT_EQ(*whole, 5u);
  EXPECT_EQ(got.stored_bytes, moved.stored_bytes);
  EXPECT_TRUE(std::equal(tensors.begin(), tensors.end(), out.bytes.begin()));
}

TEST_F(SpaceTest, PagesThatAreThereAreNotSentAgain) {
  connect();
  Transfer first;
  put(*space_, 2, first);
  Transfer second;
  put(*space_, 3, second);
  EXPECT_EQ(second.pages_kept, 2u);
  EXPECT_EQ(second.pages, 1u);
}

TEST_F(SpaceTest, AnotherSpaceMissesAndSaysWhichFieldDiffers) {
  connect();
  Transfer moved;
  put(*space_, 2, moved);
  std::unique_ptr<Space> other = open(descriptor(DType::bf16));
  std::vector<Hash32> keys = other->keys(tokens(2 * kTokens));
  EXPECT_EQ(*other->lookup(keys, 0), 0u);
  EXPECT_NE(client_->miss_reason.find("bf16"), std::string::npos) << client_->miss_reason;
  EXPECT_EQ(*space_->lookup(space_->keys(tokens(2 * kTokens)), 0), 2u);
  EXPECT_EQ(client_->miss_reason, "");
}

TEST_F(SpaceTest, LossyProvenanceIsNeverServedToAnExactReader) {
  connect();
  std::unique_ptr<Space> lossy = open(descriptor(), 400);
  Transfer moved;
  put(*lossy, 2, moved);
  std::vector<Hash32> keys = lossy->keys(tokens(2 * kTokens));
  EXPECT_EQ(*space_->lookup(keys, 0), 0u);
  EXPECT_EQ(*space_->lookup(keys, 399), 0u);
  EXPECT_EQ(*space_->lookup(keys, 400), 2u);
  Pages out(space_->page_bytes());
  Transfer got;
  EXPECT_EQ(*space_->get({.keys = keys, .first_page = 0}, {}, out, got), 0u);
  EXPECT_EQ(space_->get_encoded(keys[0], 0).error().code, Errc::not_found);
}

TEST_F(SpaceTest, PageDamagedInMemoryIsAMissAndGone) {
  connect();
  Transfer moved;
  put(*space_, 3, moved);
  std::vector<Hash32> keys = space_->keys(tokens(3 * kTokens));
  auto opened = daemon_.cache().open_space(0, *encode_descriptor(descriptor()), 0);
  auto page = cache::CacheCalls{.cache = daemon_.cache()}.get(*opened, {.key = keys[1]});
  ASSERT_TRUE(page.has_value());
  const_cast<uint8_t&>(page->sections.front()[3]) ^= 16;
  Pages out(space_->page_bytes());
  Transfer got;
  EXPECT_EQ(*space_->get({.keys = keys, .first_page = 0}, {}, out, got), 1u);
  EXPECT_EQ(daemon_.cache().stats().ram.damaged, 1u);
  EXPECT_EQ(*space_->lookup(keys, 0), 1u);
}

// The bytes of one GET are more of these pages than a request may name.
TEST_F(SpaceTest, TinyPagesAreAskedForInRequestsThatMayBeSent) {
  connect();
  Descriptor tiny = descriptor();
  tiny.layers = {0};
  tiny.heads = 1;
  tiny.planes = {{.role = PlaneRole::k, .dtype = DType::f16, .heads = 1, .dim = 2}};
  std::unique_ptr<Space> space = open(tiny);
  const std::vector<Hash32> keys(kKeysMax + 1, space->keys(tokens(kTokens)).at(0));
  Pages out(space->page_bytes());
  Transfer got;
  Result<size_t> whole = space->get({.keys = keys, .first_page = 0}, {}, out, got);
  ASSERT_TRUE(whole.has_value()) << whole.error().to_string();
  EXPECT_EQ(*whole, 0u);
}

TEST_F(SpaceTest, RestartedDaemonIsFoundAgainByTheNextCall) {
  connect();
  Transfer moved;
  put(*space_, 2, moved);
  std::vector<Hash32> keys = space_->keys(tokens(2 * kTokens));
  daemon_.stop();
  EXPECT_EQ(space_->lookup(keys, 0).error().code, Errc::connection_lost);
  daemon_.start();
  EXPECT_EQ(*space_->lookup(keys, 0), 2u);
  // Also where nobody asked in between.
  daemon_.stop();
  daemon_.start();
  EXPECT_EQ(*space_->lookup(keys, 0), 2u);
}

// Answers everything as the service does but for pages, which it alters on their way, or withholds.
class Liar final : public transport::SessionHandler {
 public:
  explicit Liar(daemon::Service& honest) : honest_(honest) {}

  void on_open(transport::Session& session, const transport::Peer& peer) override {
    honest_.on_open(session, peer);
  }

  void on_close(transport::Session& session, const Error* error) override {
    honest_.on_close(session, error);
  }

  void on_event(transport::Session& session, transport::Event event) override {
    if (auto* request = std::get_if<transport::RequestEvent>(&event)) {
      damage_reports += std::holds_alternative<transport::DamagedRequest>(request->body) ? 1 : 0;
    }
    auto* get = std::get_if<transport::GetPageEvent>(&event);
    if (std::holds_alternative<transport::PutBeginEvent>(event)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(put_pause_ms));
    }
    if (get != nullptr && is_reversed) {
      const size_t wanted = get->get->pages.size();
      held_.push_back(std::move(event));
      if (held_.size() == wanted) {
        std::for_each(held_.rbegin(), held_.rend(), [&](transport::Event& page) {
          honest_.on_event(session, std::move(page));
        });
        held_.clear();
      }
      return;
    }
    if (get == nullptr) {
      honest_.on_event(session, std::move(event));
    } else if (answer) {
      session.send_page(get->info.id, get->page_index, answer(get->page()));
    }
  }

  // The page to send; empty: none is ever sent.
  std::function<transport::PageAnswer(const transport::GetPageRequest&)> answer;
  int damage_reports = 0;
  int put_pause_ms = 0;
  bool is_reversed = false;  // answers a GET's pages last to first, as the service does

 private:
  std::vector<transport::Event> held_;

  daemon::Service& honest_;
};

// Fetches one page through a liar that sends `page` whatever is asked.
class LyingDaemonTest : public SpaceTest {
 protected:
  void SetUp() override {
    daemon_.start();
    connect();
    Transfer moved;
    put(*space_, 2, moved);
    keys_ = space_->keys(tokens(2 * kTokens));
    page_ = space_->get_encoded(keys_[0], 0)->bytes;
    daemon_.stop();
    daemon_.start(&liar_);
    connect(kDeadlineMs);
    liar_.answer = [this](const transport::GetPageRequest&) {
      const uint32_t header_bytes = *codec::peek_header_bytes(page_);
      body_ = ByteSpan(page_).subspan(header_bytes);
      transport::PageAnswer out;
      out.encoding_id = codec::encoding_id(ByteSpan(page_).first(header_bytes));
      out.rows = 1;
      out.header = ByteSpan(page_).first(header_bytes);
      out.sections = {&body_, 1};
      return out;
    };
  }

  // The liar goes before the daemon that calls it.
  void TearDown() override {
    space_.reset();
    client_.reset();
    daemon_.stop();
  }

  void expect_refused() {
    Pages out(space_->page_bytes());
    Transfer got;
    Result<size_t> whole = space_->get({.keys = keys_, .first_page = 0}, {}, out, got);
    ASSERT_TRUE(whole.has_value()) << whole.error().to_string();
    EXPECT_EQ(*whole, 0u);
    EXPECT_EQ(got.pages_damaged, 1u);
    EXPECT_EQ(liar_.damage_reports, 1);
  }

  Liar liar_{daemon_.service()};
  std::vector<Hash32> keys_;
  Bytes page_;
  ByteSpan body_;
};

TEST_F(LyingDaemonTest, FlippedBitIsReported) {
  page_.back() ^= 1;
  expect_refused();
}

TEST_F(LyingDaemonTest, PageOfAnotherKeyIsReported) {
  std::swap(keys_[0], keys_[1]);
  expect_refused();
}

TEST_F(LyingDaemonTest, PageOfAnotherShapeIsReported) {
  codec::PageSpec spec;
  spec.page_key = keys_[0];
  spec.geometry = space_->page_geometry();
  spec.geometry.layers = 2;
  page_.resize(*codec::encode_bound(spec.geometry));
  codec::Workspace workspace;
  page_.resize(*codec::encode_page(spec, random_bytes(spec.geometry.bytes(), 1), page_, workspace));
  expect_refused();
}

TEST_F(LyingDaemonTest, PageOfWorseQualityThanAskedForIsReported) {
  codec::PageSpec spec;
  spec.page_key = keys_[0];
  spec.provenance_kl = 9;
  spec.geometry = space_->page_geometry();
  page_.resize(*codec::encode_bound(spec.geometry));
  codec::Workspace workspace;
  page_.resize(*codec::encode_page(spec, random_bytes(spec.geometry.bytes(), 1), page_, workspace));
  expect_refused();
}

TEST_F(LyingDaemonTest, PagesThatComeInAnotherOrderAreTakenAsTheyCome) {
  liar_.is_reversed = true;
  Pages out(space_->page_bytes());
  Transfer got;
  EXPECT_EQ(*space_->get({.keys = keys_, .first_page = 0}, {}, out, got), 2u);
  EXPECT_EQ(got.pages, 2u);
  EXPECT_TRUE(std::equal(out.bytes.begin(),
                         out.bytes.begin() + static_cast<ptrdiff_t>(2 * space_->page_bytes()),
                         random_bytes(2 * space_->page_bytes(), 5).begin()));
  // The second comes, the first is missing: nothing can be restored, nothing is reported.
  std::vector<Hash32> keys = {space_->keys(tokens(5 * kTokens)).back(), keys_[1]};
  EXPECT_EQ(*space_->get({.keys = keys, .first_page = 0}, {}, out, got), 0u);
  EXPECT_EQ(got.pages_damaged, 0u);
}

TEST_F(LyingDaemonTest, SilentDaemonCostsOneDeadline) {
  liar_.answer = nullptr;
  SteadyClock clock;
  Pages out(space_->page_bytes());
  Transfer got;
  const uint64_t start = clock.now_ns();
  Result<size_t> whole = space_->get({.keys = keys_, .first_page = 0}, {}, out, got);
  EXPECT_EQ(whole.error().code, Errc::timed_out);
  EXPECT_LT(clock.now_ns() - start, 2'000'000'000u);
}

TEST_F(LyingDaemonTest, ASilentDaemonIsLeftAloneForAWhile) {
  SteadyClock clock;
  liar_.answer = nullptr;
  Pages out(space_->page_bytes());
  Transfer got;
  EXPECT_EQ(space_->get({.keys = keys_, .first_page = 0}, {}, out, got).error().code,
            Errc::timed_out);
  const uint64_t start = clock.now_ns();
  Result<uint32_t> again = space_->lookup(keys_, 0);
  EXPECT_EQ(again.error().code, Errc::timed_out);
  EXPECT_NE(again.error().text.find("asked again in"), std::string::npos) << again.error().text;
  EXPECT_LT(clock.now_ns() - start, 50'000'000u);
}

TEST_F(LyingDaemonTest, AStutteringDaemonCostsOneDeadlineHoweverManyPagesAreMoved) {
  // Each of 20 puts within its own deadline once took 15 s together.
  liar_.put_pause_ms = 150;
  SteadyClock clock;
  Bytes bytes = random_bytes(space_->page_bytes(), 9);
  std::vector<Hash32> keys = space_->keys(tokens(20 * kTokens));
  std::vector<Hash32> anchors(20, kRootKey);
  auto load = [&](uint32_t) -> Result<ByteSpan> { return ByteSpan(bytes); };
  Transfer moved;
  const uint64_t start = clock.now_ns();
  Status done =
      space_->put({.keys = keys, .first_page = 0}, anchors, load, transport::Ack::ram, moved);
  ASSERT_TRUE(done.has_error());
  EXPECT_EQ(done.error().code, Errc::timed_out);
  EXPECT_GT(moved.pages, 0u);
  const uint64_t allowed_ns =
      kDeadlineMs * 1'000'000ull + moved.raw_bytes * 1'000'000'000 / kSlowestBytesPerS;
  EXPECT_LT(clock.now_ns() - start, allowed_ns + 200'000'000);
}

TEST_F(LyingDaemonTest, ADaemonThatHangsAgainIsLeftAloneForLonger) {
  constexpr uint64_t kShortMs = 100;
  space_.reset();
  connect(kShortMs);
  liar_.answer = nullptr;
  Pages out(space_->page_bytes());
  Transfer got;
  auto refused = [&] {
    Result<size_t> whole = space_->get({.keys = keys_, .first_page = 0}, {}, out, got);
    EXPECT_EQ(whole.error().code, Errc::timed_out);
    return whole.error().text;
  };
  // How long it is left alone; 0 where it was asked.
  auto pause_ms = [&] {
    const std::string text = refused();
    const size_t at = text.find("asked again in ");
    return at == std::string::npos ? 0 : std::stoul(text.substr(at + strlen("asked again in ")));
  };
  EXPECT_EQ(pause_ms(), 0u);
  const uint64_t first_ms = pause_ms();
  EXPECT_GT(first_ms, 0u);
  EXPECT_LE(first_ms, kPauseDeadlines * kShortMs);
  while (pause_ms() != 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_GT(pause_ms(), kPauseDeadlines * kShortMs);
}

TEST(Client, NobodyListeningIsConnectionLost) {
  auto client = Client::open({.address = "/nonexistent/s.sock"});
  ASSERT_TRUE(client.has_value());
  EXPECT_EQ((*client)->requester().error().code, Errc::connection_lost);
  // Which costs nothing, so that a daemon that comes back is used at once.
  {
    Client::Call call(**client);
    EXPECT_EQ((*client)->requester().error().code, Errc::connection_lost);
  }
  EXPECT_EQ((*client)->requester().error().code, Errc::connection_lost);
  EXPECT_EQ(Client::open({.address = "/nonexistent/s.sock", .deadline_ms = 0}).error().code,
            Errc::invalid_argument);
}

}  // namespace
}  // namespace sluice::client
