// Encoded pages as tools move them: out of one daemon, checked, and into it again.
#include <gtest/gtest.h>

#include "src/client/put_window.h"
#include "src/client/space.h"
#include "tests/support/test_daemon.h"

namespace sluice::client {
namespace {

constexpr uint32_t kTokens = 32;

Descriptor descriptor(uint32_t layers) {
  Descriptor out;
  out.model_digest[0] = 7;
  for (uint32_t layer = 0; layer < layers; ++layer) {
    out.layers.push_back(layer);
  }
  out.heads = 2;
  out.planes = {{.role = PlaneRole::k, .dtype = DType::f16, .heads = 2, .dim = 8},
                {.role = PlaneRole::v, .dtype = DType::f16, .heads = 2, .dim = 8}};
  out.page_tokens = kTokens;
  return out;
}

class EncodedPageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_.start();
    client_ = *Client::open({.address = socket_});
    space_ = *Space::open(*client_, *encode_descriptor(descriptor(3)));
    key_ = space_->keys(std::vector<uint32_t>(kTokens, 5)).front();
    Bytes tensors(space_->page_bytes());
    for (size_t i = 0; i < tensors.size(); ++i) {
      tensors[i] = static_cast<uint8_t>(i * 7);
    }
    page_.resize(*codec::encode_bound(space_->page_geometry()));
    codec::Workspace workspace;
    codec::PageSpec spec{.page_key = key_, .geometry = space_->page_geometry()};
    page_.resize(*codec::encode_page(spec, tensors, page_, workspace));
    ASSERT_TRUE(*put(*space_));
  }

  // Checks and puts the page, as `sluice put` does.
  Result<bool> put(Space& space) {
    SLUICE_TRY(const Hash32 key, space.check_encoded(page_));
    Result<bool> out = false;
    PutWindow window(
        space, transport::Ack::ram, [&](const SentPage&, const Result<bool>& taken) -> Status {
          out = taken;
          return {};
        });
    SLUICE_CHECK(window.send(0, key, kRootKey, page_));
    SLUICE_CHECK(window.finish());
    return out;
  }

  testing::TempFolder folder_;
  std::string socket_ = folder_.file("s.sock");
  testing::TestDaemon daemon_{socket_};
  std::unique_ptr<Client> client_;
  std::unique_ptr<Space> space_;
  Hash32 key_{};
  Bytes page_;  // as it was put
};

TEST_F(EncodedPageTest, GoesOutAndComesBackByteForByte) {
  const EncodedPage got = *space_->get_encoded(key_, 0);
  EXPECT_EQ(got.bytes, page_);
  codec::PageHeader header = *codec::verify_page(page_);
  EXPECT_EQ(got.encoding_id, codec::encoding_id(ByteSpan(page_).first(header.header_bytes())));
  EXPECT_FALSE(*put(*space_)) << "the same page is there";
  EXPECT_EQ(*space_->erase({&key_, 1}), 1u);
  EXPECT_TRUE(*put(*space_));
  EXPECT_EQ(space_->get_encoded(key_, 0)->bytes, page_);
}

TEST_F(EncodedPageTest, DamageIsFoundBeforeAnythingIsSent) {
  ASSERT_EQ(*space_->erase({&key_, 1}), 1u);
  page_[page_.size() - 5] ^= 1;
  Result<bool> done = put(*space_);
  ASSERT_TRUE(done.has_error());
  EXPECT_EQ(done.error().code, Errc::bad_checksum);
  EXPECT_NE(done.error().text.find("offset"), std::string::npos) << done.error().text;
  EXPECT_EQ(*space_->lookup({&key_, 1}, 0), 0u);
}

TEST_F(EncodedPageTest, APageOfAnotherShapeIsRefused) {
  auto other = *Space::open(*client_, *encode_descriptor(descriptor(2)));
  Result<bool> done = put(*other);
  ASSERT_TRUE(done.has_error());
  EXPECT_EQ(done.error().code, Errc::bad_value);
  EXPECT_NE(done.error().text.find("another space"), std::string::npos) << done.error().text;
}

TEST_F(EncodedPageTest, TheNamedSocketIsTheOneThatIsAsked) {
  EXPECT_EQ(find_socket("/some/where"), "/some/where");
  EXPECT_FALSE(find_socket("").empty());
}

}  // namespace
}  // namespace sluice::client
