// inspect and verify of pages that come from a daemon which sends what it likes.
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>

#include "codec/codec.h"
#include "src/cli/commands.h"
#include "src/cli/page_file.h"
#include "src/model/chain.h"
#include "src/model/descriptor.h"
#include "tests/support/test_daemon.h"

namespace sluice::cli {
namespace {

constexpr uint32_t kTokens = 32;

Descriptor descriptor() {
  Descriptor out;
  out.layers = {0, 1};
  out.heads = 1;
  out.planes = {{.role = PlaneRole::k, .dtype = DType::f16, .heads = 1, .dim = 8}};
  out.page_tokens = kTokens;
  return out;
}

// Answers as the service does, and every GET with one page.
class OnePage final : public transport::SessionHandler {
 public:
  explicit OnePage(daemon::Service& service) : service_(service) {}

  void on_open(transport::Session& session, const transport::Peer& peer) override {
    service_.on_open(session, peer);
  }

  void on_close(transport::Session& session, const Error* error) override {
    service_.on_close(session, error);
  }

  void on_event(transport::Session& session, transport::Event event) override {
    auto* get = std::get_if<transport::GetPageEvent>(&event);
    if (get == nullptr) {
      return service_.on_event(session, std::move(event));
    }
    const ByteSpan header = ByteSpan(page).first(*codec::peek_header_bytes(page));
    const ByteSpan body = ByteSpan(page).subspan(header.size());
    session.send_page(get->info.id,
                      get->page_index,
                      {.encoding_id = encoding_id.value_or(codec::encoding_id(header)),
                       .rows = 1,
                       .header = header,
                       .sections = {&body, 1}});
  }

  Bytes page;
  std::optional<codec::EncodingId> encoding_id;  // nothing: the page's own

 private:
  daemon::Service& service_;
};

// The one page of a sequence is asked for.
class FetchedPage : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.daemon.socket = folder_.file("s.sock");
    options_.descriptor = folder_.file("space.descriptor");
    options_.tokens = folder_.file("tokens");
    const Bytes space = *encode_descriptor(descriptor());
    const std::vector<uint32_t> tokens(kTokens, 1);
    asked_.page_key = page_keys(space_id(space), tokens, kTokens).at(0);
    asked_.geometry = geometry(descriptor());
    std::string text;
    for (uint32_t token : tokens) {
      text += std::to_string(token) + " ";
    }
    ASSERT_TRUE(write_file(options_.descriptor, space).has_value());
    ASSERT_TRUE(write_file(options_.tokens, as_bytes(text)).has_value());
    serve(asked_);
    daemon_.start(&daemon_answers_);
  }

  void TearDown() override { daemon_.stop(); }  // before the handler goes

  // Makes the daemon send this page.
  void serve(const codec::PageSpec& spec) {
    codec::Workspace workspace;
    Bytes page(*codec::encode_bound(spec.geometry));
    const Bytes tensors(spec.geometry.bytes(), 3);
    page.resize(*codec::encode_page(spec, tensors, page, workspace));
    daemon_answers_.page = std::move(page);
  }

  // The exit code of both commands, and whether inspect saved the page.
  void expect(int exit, bool is_saved) {
    const std::string saved = folder_.file("saved");
    EXPECT_EQ(*verify(options_, {}, {}), exit);
    EXPECT_EQ(*inspect(options_, {}, saved, {}), exit);
    EXPECT_EQ(std::filesystem::is_empty(saved), !is_saved);
  }

  testing::TempFolder folder_;
  testing::TestDaemon daemon_{folder_.file("s.sock")};
  OnePage daemon_answers_{daemon_.service()};
  SequenceOptions options_;
  codec::PageSpec asked_;
};

TEST_F(FetchedPage, TheOneThatWasAskedForIsIntact) {
  expect(0, true);
}

TEST_F(FetchedPage, OfAnotherKeyIsDamaged) {
  asked_.page_key[0] ^= 1;
  serve(asked_);
  expect(1, false);
}

TEST_F(FetchedPage, OfAnotherShapeIsDamaged) {
  asked_.geometry.layers = 1;
  serve(asked_);
  expect(1, false);
}

TEST_F(FetchedPage, OfAnotherPositionIsDamaged) {
  asked_.first_position = kTokens;
  serve(asked_);
  expect(1, false);
}

TEST_F(FetchedPage, UnderTheNameOfAnotherEncodingIsDamaged) {
  daemon_answers_.encoding_id.emplace();
  expect(1, false);
}

TEST_F(FetchedPage, WithAFlippedBitIsDamaged) {
  daemon_answers_.page.back() ^= 1;
  expect(1, false);
}

}  // namespace
}  // namespace sluice::cli
