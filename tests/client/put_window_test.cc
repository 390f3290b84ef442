// PUTs under way together, against a daemon whose disk is slow, full or busy.
#include "src/client/put_window.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "src/client/space.h"
#include "tests/support/test_daemon.h"

namespace sluice::client {
namespace {

constexpr uint32_t kTokens = 32;
constexpr size_t kPages = 12;

// Serves as the service does, but for the PUTs that a disk would make wait, or refuse.
class Disk final : public transport::SessionHandler {
 public:
  explicit Disk(daemon::Service& service) : service_(service) {}

  void on_open(transport::Session& session, const transport::Peer& peer) override {
    service_.on_open(session, peer);
  }

  void on_close(transport::Session& session, const Error* error) override {
    service_.on_close(session, error);
  }

  void on_event(transport::Session& session, transport::Event event) override {
    if (auto* put = std::get_if<transport::PutBeginEvent>(&event)) {
      put->put.ack = transport::Ack::ram;  // the daemon has no disk: this is it
      const int tried = ++tries[put->put.key];
      if (put->put.key == refused || tried <= busy_tries) {
        const Errc code = put->put.key == refused ? Errc::no_space : Errc::overloaded;
        session.refuse(put->info.id, SLUICE_ERR(code, "the disk takes nothing"));
        return;
      }
      if (breaks) {
        session.close(SLUICE_ERR(Errc::draining, "the daemon goes"));
        return;
      }
    }
    if (std::holds_alternative<transport::PutEndEvent>(event) && syncs_at > 1) {
      waiting_.push_back(std::move(event));
      if (waiting_.size() == syncs_at) {
        std::this_thread::sleep_for(takes);
        while (!waiting_.empty()) {  // the last is answered first
          transport::Event last = std::move(waiting_.back());
          waiting_.pop_back();
          service_.on_event(session, std::move(last));
        }
      }
      return;
    }
    service_.on_event(session, std::move(event));
  }

  size_t syncs_at = 1;  // answers to PUTs wait until so many of them do
  Hash32 refused{};     // key of the page that finds the disk full
  int busy_tries = 0;   // so many times each page finds the queue full
  bool breaks = false;
  std::chrono::milliseconds takes{0};  // before it answers them
  std::map<Hash32, int> tries;

 private:
  daemon::Service& service_;
  std::vector<transport::Event> waiting_;
};

class PutWindowTest : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_.start(&disk_);
    client_ = *Client::open({.address = socket_, .deadline_ms = 2000});
    open_space();
  }

  void open_space() {
    Descriptor descriptor;
    descriptor.layers = {0};
    descriptor.heads = 1;
    descriptor.planes = {{.role = PlaneRole::k, .dtype = DType::f16, .heads = 1, .dim = 8},
                         {.role = PlaneRole::v, .dtype = DType::f16, .heads = 1, .dim = 8}};
    descriptor.page_tokens = kTokens;
    space_ = *Space::open(*client_, *encode_descriptor(descriptor));
    keys_ = space_->keys(std::vector<uint32_t>(kPages * kTokens, 3));
  }

  void TearDown() override {
    space_.reset();
    client_.reset();
    daemon_.stop();
  }

  // Puts all pages of the sequence.
  Status put(Transfer& moved) {
    const Bytes tensors(space_->page_bytes(), 7);
    return space_->put(
        {.keys = keys_, .first_page = 0},
        std::vector<Hash32>(keys_.size(), kRootKey),
        [&](uint32_t) -> Result<ByteSpan> { return ByteSpan(tensors); },
        transport::Ack::disk,
        moved);
  }

  void send(PutWindow& window, size_t index) {
    const Bytes tensors(space_->page_bytes(), 7);
    Bytes page(*codec::encode_bound(space_->page_geometry()));
    codec::Workspace workspace;
    const codec::PageSpec spec{.page_key = keys_[index], .geometry = space_->page_geometry()};
    const size_t bytes = *codec::encode_page(spec, tensors, page, workspace);
    ASSERT_TRUE(
        window.send(index, keys_[index], kRootKey, ByteSpan(page).first(bytes)).has_value());
  }

  testing::TempFolder folder_;
  std::string socket_ = folder_.file("s.sock");
  testing::TestDaemon daemon_{socket_};
  Disk disk_{daemon_.service()};
  std::unique_ptr<Client> client_;
  std::unique_ptr<Space> space_;
  std::vector<Hash32> keys_;
};

TEST_F(PutWindowTest, PagesWaitForTheDiskTogetherAndAreAnsweredInAnyOrder) {
  disk_.syncs_at = 4;  // one at a time would wait for ever
  Transfer moved;
  Status done = put(moved);
  ASSERT_TRUE(done.has_value()) << done.error().to_string();
  EXPECT_EQ(moved.pages, kPages);
  disk_.syncs_at = 1;
  EXPECT_EQ(*space_->lookup(keys_, 0), kPages);
}

TEST_F(PutWindowTest, ARefusedPageIsNamedAndThoseUnderWayAreCounted) {
  disk_.refused = keys_[9];
  Transfer moved;
  Status done = put(moved);
  ASSERT_TRUE(done.has_error());
  EXPECT_EQ(done.error().code, Errc::no_space);
  EXPECT_NE(done.error().text.find("page 9 of the sequence, " + to_hex(keys_[9])),
            std::string::npos)
      << done.error().text;
  EXPECT_EQ(moved.pages, *space_->lookup(keys_, 0) + kPages - 1 - 9);
  EXPECT_EQ(*space_->lookup(keys_, 0), 9u) << "the connection stays usable";
}

TEST_F(PutWindowTest, APageThatFindsTheDaemonBusyIsSentOnceMore) {
  disk_.busy_tries = 1;
  Transfer moved;
  EXPECT_TRUE(put(moved).has_value());
  EXPECT_EQ(moved.pages, kPages);
  disk_.busy_tries = 4;
  ASSERT_EQ(*space_->erase(keys_), kPages);
  disk_.tries.clear();
  EXPECT_EQ(put(moved).error().code, Errc::overloaded);
  EXPECT_EQ(disk_.tries[keys_[0]], 2);
}

TEST_F(PutWindowTest, ABrokenConnectionTellsEveryPageOnce) {
  disk_.syncs_at = 4;
  std::multiset<size_t> told;
  PutWindow window(
      *space_, transport::Ack::disk, [&](const SentPage& page, const Result<bool>& taken) {
        EXPECT_TRUE(taken.has_error());
        told.insert(page.index);
        return Status();
      });
  for (size_t i = 0; i < 3; ++i) {
    disk_.breaks = i == 2;
    send(window, i);
  }
  EXPECT_TRUE(window.finish().has_value()) << "what is told may be passed over";
  EXPECT_EQ(told, (std::multiset<size_t>{0, 1, 2}));
}

// A call that takes most of its deadline makes the client let go of the connection, though the
// answers of other pages are still to come on it.
TEST_F(PutWindowTest, ACallThatLosesTimeLosesNoAnswer) {
  space_.reset();
  client_ = *Client::open({.address = socket_, .deadline_ms = 4000});
  open_space();
  disk_.syncs_at = 8;  // as many as are under way together
  disk_.takes = std::chrono::milliseconds(3400);
  size_t taken_pages = 0;
  PutWindow window(*space_, transport::Ack::disk, [&](const SentPage&, const Result<bool>& taken) {
    taken_pages += taken.has_value();
    return Status();
  });
  for (size_t i = 0; i < 9; ++i) {
    send(window, i);
  }
  disk_.syncs_at = 1;
  EXPECT_TRUE(window.finish().has_value());
  EXPECT_GE(taken_pages, 8u);
}

}  // namespace
}  // namespace sluice::client
