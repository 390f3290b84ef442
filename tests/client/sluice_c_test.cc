// The C ABI: what bad arguments get, and one round trip through it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "src/client/sluice.h"
#include "src/model/descriptor.h"
#include "tests/support/test_daemon.h"

namespace sluice {
namespace {

Bytes descriptor() {
  Descriptor out;
  out.layers = {0};
  out.heads = 1;
  out.planes = {{.role = PlaneRole::k, .dtype = DType::f16, .heads = 1, .dim = 8}};
  out.page_tokens = 32;
  return *encode_descriptor(out);
}

class AbiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_.start();
    ASSERT_EQ(sluice_client_open(socket_.c_str(), 5000, &client_), SLUICE_OK)
        << sluice_last_error();
    Bytes bytes = descriptor();
    ASSERT_EQ(sluice_space_open(client_, bytes.data(), bytes.size(), 0, 0, 0, &space_), SLUICE_OK);
  }

  void TearDown() override {
    sluice_space_free(space_);
    sluice_client_free(client_);
  }

  testing::TempFolder folder_;
  std::string socket_ = folder_.file("s.sock");
  testing::TestDaemon daemon_{socket_};
  sluice_client* client_ = nullptr;
  sluice_space* space_ = nullptr;
  sluice_transfer moved_{};
};

TEST_F(AbiTest, PagesComeBackAsTheyWerePut) {
  const size_t page_bytes = sluice_space_page_bytes(space_);
  EXPECT_EQ(page_bytes, 32u * 8 * 2);
  std::vector<uint32_t> tokens(70, 5);
  std::vector<uint8_t> keys(2 * SLUICE_KEY_BYTES);
  size_t n_keys = 0;
  ASSERT_EQ(sluice_space_keys(space_, tokens.data(), 70, keys.data(), 2, &n_keys), SLUICE_OK);
  ASSERT_EQ(n_keys, 2u);
  std::vector<uint8_t> tensors(2 * page_bytes);
  for (size_t i = 0; i < tensors.size(); ++i) {
    tensors[i] = static_cast<uint8_t>(i * 37);
  }
  ASSERT_EQ(sluice_space_put(space_,
                             keys.data(),
                             2,
                             0,
                             nullptr,
                             tensors.data(),
                             tensors.size(),
                             SLUICE_ACK_RAM,
                             &moved_),
            SLUICE_OK)
      << sluice_last_error();
  EXPECT_EQ(moved_.pages, 2u);
  EXPECT_EQ(moved_.tokens, 64u);
  uint32_t pages = 0;
  EXPECT_EQ(sluice_space_lookup(space_, keys.data(), 2, SLUICE_KL_EXACT, &pages), SLUICE_OK);
  EXPECT_EQ(pages, 2u);
  std::vector<uint8_t> out(tensors.size());
  ASSERT_EQ(sluice_space_get(space_, keys.data(), 2, 0, 0, out.data(), out.size(), &moved_),
            SLUICE_OK);
  EXPECT_EQ(moved_.tokens, 64u);
  EXPECT_EQ(out, tensors);
  const char* stats = nullptr;
  ASSERT_EQ(sluice_stats(client_, &stats), SLUICE_OK);
  EXPECT_NE(std::string(stats).find("\"ram_pages\":2"), std::string::npos) << stats;
}

TEST_F(AbiTest, BuffersThatAreTooSmallAreRefusedBeforeAnythingMoves) {
  std::vector<uint32_t> tokens(64, 5);
  std::vector<uint8_t> keys(2 * SLUICE_KEY_BYTES);
  size_t n_keys = 0;
  EXPECT_EQ(sluice_space_keys(space_, tokens.data(), 64, keys.data(), 1, &n_keys),
            SLUICE_OUTPUT_TOO_SMALL);
  EXPECT_EQ(n_keys, 2u);
  std::vector<uint8_t> tensors(1);
  EXPECT_EQ(sluice_space_put(
                space_, keys.data(), 2, 0, nullptr, tensors.data(), 1, SLUICE_ACK_RAM, &moved_),
            SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_space_get(space_, keys.data(), 2, 0, 0, tensors.data(), 1, &moved_),
            SLUICE_OUTPUT_TOO_SMALL);
  // A count of keys whose bytes overflow must not pass the check.
  EXPECT_EQ(sluice_space_get(space_, keys.data(), SIZE_MAX / 2, 0, 0, tensors.data(), 1, &moved_),
            SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(
      sluice_space_put(
          space_, keys.data(), 2, UINT32_MAX, nullptr, tensors.data(), 1, SLUICE_ACK_RAM, &moved_),
      SLUICE_INVALID_ARGUMENT);
}

class AbiLevels : public AbiTest {
 protected:
  // One page of a model of two layers without a profile: it has the exact row alone.
  void SetUp() override {
    AbiTest::SetUp();
    Descriptor two = *parse_descriptor(descriptor());
    two.layers = {0, 1};
    bytes_ = *encode_descriptor(two);
    ASSERT_EQ(sluice_space_open(client_, bytes_.data(), bytes_.size(), 0, 0, 1, &two_), SLUICE_OK);
    tensors_.resize(sluice_space_page_bytes(two_));
    for (size_t i = 0; i < tensors_.size(); ++i) {
      tensors_[i] = static_cast<uint8_t>(i * 37);
    }
    const std::vector<uint32_t> tokens(32, 5);
    size_t n_keys = 0;
    ASSERT_EQ(sluice_space_keys(two_, tokens.data(), 32, key_.data(), 1, &n_keys), SLUICE_OK);
    ASSERT_EQ(sluice_space_put(two_,
                               key_.data(),
                               1,
                               0,
                               nullptr,
                               tensors_.data(),
                               tensors_.size(),
                               SLUICE_ACK_RAM,
                               &moved_),
              SLUICE_OK);
  }

  void TearDown() override {
    sluice_page_free(page_);
    sluice_space_free(two_);
    AbiTest::TearDown();
  }

  int get_layers(uint32_t first, uint32_t count, std::vector<uint8_t>& out) {
    return sluice_space_get_layers(
        two_, key_.data(), 1, 0, 0, first, count, out.data(), out.size(), &moved_);
  }

  Bytes bytes_;
  sluice_space* two_ = nullptr;
  sluice_page* page_ = nullptr;
  std::vector<uint8_t> key_ = std::vector<uint8_t>(SLUICE_KEY_BYTES);
  std::vector<uint8_t> tensors_;
};

TEST_F(AbiLevels, LayersOfAPageComeAlone) {
  std::vector<uint8_t> out(tensors_.size() / 2);
  ASSERT_EQ(get_layers(1, 1, out), SLUICE_OK) << sluice_last_error();
  EXPECT_EQ(moved_.pages, 1u);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), tensors_.begin() + tensors_.size() / 2));
  EXPECT_EQ(get_layers(0, 2, out), SLUICE_OUTPUT_TOO_SMALL);
  EXPECT_EQ(get_layers(0, 0, out), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(get_layers(0, 3, out), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(get_layers(2, 1, out), SLUICE_INVALID_ARGUMENT);
}

TEST_F(AbiLevels, APageIsFetchedRefinedAndDecoded) {
  ASSERT_EQ(sluice_page_get(two_, key_.data(), 0, 0, &page_), SLUICE_OK) << sluice_last_error();
  EXPECT_EQ(sluice_page_kl(page_), 0u);
  EXPECT_EQ(sluice_page_stored_bytes(page_), moved_.stored_bytes);
  EXPECT_EQ(sluice_page_refine(page_, 0), SLUICE_OK) << "nothing is missing";
  EXPECT_EQ(sluice_page_stored_bytes(page_), moved_.stored_bytes);
  std::vector<uint8_t> out(tensors_.size());
  EXPECT_EQ(sluice_page_decode(page_, out.data(), out.size() - 1), SLUICE_OUTPUT_TOO_SMALL);
  ASSERT_EQ(sluice_page_decode(page_, out.data(), out.size()), SLUICE_OK) << sluice_last_error();
  EXPECT_EQ(out, tensors_);
  sluice_page* none = nullptr;
  key_[0] ^= 1;
  EXPECT_EQ(sluice_page_get(two_, key_.data(), 0, 0, &none), SLUICE_NOT_FOUND);
  EXPECT_EQ(none, nullptr);
}

TEST_F(AbiLevels, AFitSaysWhatABudgetGets) {
  sluice_fit fit{};
  const uint64_t bytes = moved_.stored_bytes;
  ASSERT_EQ(sluice_space_fit(two_, key_.data(), 1, SLUICE_KL_UNKNOWN, bytes, &fit), SLUICE_OK);
  EXPECT_EQ(fit.pages, 1u);
  EXPECT_EQ(fit.stored_bytes, bytes);
  ASSERT_EQ(sluice_space_fit(two_, key_.data(), 1, 0, bytes - 1, &fit), SLUICE_OK);
  EXPECT_EQ(fit.pages, 0u);
}

TEST_F(AbiLevels, LevelsAreNamesThatAProfileGivesANumber) {
  uint32_t kl = 7;
  auto level = [&](const char* name) {
    return sluice_level_kl(client_, bytes_.data(), bytes_.size(), name, &kl);
  };
  EXPECT_EQ(level("exact"), SLUICE_OK);
  EXPECT_EQ(kl, 0u);
  EXPECT_EQ(level("q2"), SLUICE_NOT_FOUND);
  EXPECT_NE(std::string(sluice_last_error()).find("profile"), std::string::npos);
  EXPECT_EQ(level("best"), SLUICE_INVALID_ARGUMENT);
  bytes_.pop_back();
  EXPECT_NE(level("exact"), SLUICE_OK);
}

TEST_F(AbiTest, AnExactRowIsThereOrNot) {
  Bytes bytes = descriptor();
  sluice_space* space = nullptr;
  EXPECT_EQ(sluice_space_open(client_, bytes.data(), bytes.size(), 0, 0, 2, &space),
            SLUICE_INVALID_ARGUMENT);
}

TEST_F(AbiTest, AcksAreThoseOfTheHeaderAndTheDaemon) {
  std::vector<uint32_t> tokens(32, 5);
  std::vector<uint8_t> key(SLUICE_KEY_BYTES);
  size_t n_keys = 0;
  ASSERT_EQ(sluice_space_keys(space_, tokens.data(), 32, key.data(), 1, &n_keys), SLUICE_OK);
  std::vector<uint8_t> page(sluice_space_page_bytes(space_));
  auto put = [&](uint32_t ack) {
    return sluice_space_put(
        space_, key.data(), 1, 0, nullptr, page.data(), page.size(), ack, &moved_);
  };
  EXPECT_EQ(put(7), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(put(SLUICE_ACK_DISK), SLUICE_UNSUPPORTED);  // this daemon has no disk tier
  EXPECT_EQ(put(SLUICE_ACK_RAM), SLUICE_OK);
}

TEST_F(AbiTest, NullArgumentsAreNamed) {
  uint32_t number = 0;
  size_t size = 0;
  uint8_t byte = 0;
  sluice_llama_options options{};
  sluice_llama* llama = nullptr;
  sluice_space* space = nullptr;
  EXPECT_EQ(sluice_space_open(nullptr, &byte, 1, 0, 0, 0, &space), SLUICE_INVALID_ARGUMENT);
  EXPECT_NE(std::string(sluice_last_error()).find("argument 'client' is NULL"), std::string::npos);
  EXPECT_EQ(sluice_space_open(client_, nullptr, 0, 0, 0, 0, &space), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_space_open(client_, &byte, 1, 0, 0, 0, nullptr), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_client_open(nullptr, 1, nullptr), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_model_open(nullptr, nullptr), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_model_digest(nullptr, 0, &byte), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_stats(nullptr, nullptr), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_space_keys(nullptr, &number, 1, &byte, 1, &size), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_space_lookup(nullptr, &byte, 1, 0, &number), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_llama_open(client_, nullptr, &options, &llama), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_llama_lookup(nullptr, &number, 1, 0, &number), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_llama_store(nullptr, &number, 1, &byte, 1, SLUICE_ACK_RAM, &moved_),
            SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_llama_load(nullptr, &number, 1, 0, &byte, 1, &size, &moved_),
            SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_llama_load_keys(nullptr, &byte, 1, 0, &byte, 1, &size, &moved_),
            SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_llama_keys(nullptr, &number, 1, &byte, 1, &size), SLUICE_INVALID_ARGUMENT);
  sluice_fit fit{};
  sluice_page* page = nullptr;
  EXPECT_EQ(sluice_level_kl(client_, &byte, 1, nullptr, &number), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_space_fit(nullptr, &byte, 1, 0, 1, &fit), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_llama_fit(nullptr, &number, 1, 0, 1, &fit), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_space_get_layers(nullptr, &byte, 1, 0, 0, 0, 1, &byte, 1, &moved_),
            SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_page_get(nullptr, &byte, 0, 0, &page), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_page_refine(nullptr, 0), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_page_decode(nullptr, &byte, 1), SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_page_kl(nullptr), SLUICE_KL_UNKNOWN);
  EXPECT_EQ(sluice_page_stored_bytes(nullptr), 0u);
  sluice_page_free(nullptr);
  EXPECT_EQ(sluice_llama_level_kl(client_, nullptr, &options, "q1", &number),
            SLUICE_INVALID_ARGUMENT);
  EXPECT_EQ(sluice_space_page_bytes(nullptr), 0u);
  EXPECT_EQ(sluice_llama_blob_bytes(nullptr, 1), 0u);
  EXPECT_EQ(sluice_model_groups(nullptr), 0u);
  EXPECT_STREQ(sluice_miss_reason(nullptr), "");
  sluice_model_free(nullptr);
  sluice_llama_free(nullptr);
}

TEST_F(AbiTest, DescriptorThatIsNoneIsRefused) {
  sluice_space* space = space_;
  Bytes bytes = descriptor();
  bytes.pop_back();
  EXPECT_NE(sluice_space_open(client_, bytes.data(), bytes.size(), 0, 0, 0, &space), SLUICE_OK);
  EXPECT_EQ(space, nullptr);
}

TEST(Abi, ModelThatIsNotThereIsAnIoError) {
  sluice_model* model = nullptr;
  EXPECT_EQ(sluice_model_open("/nonexistent/model.gguf", &model), 100);
  EXPECT_STREQ(sluice_error_name(100), "io_error");
  EXPECT_NE(std::string(sluice_last_error()).find("/nonexistent/model.gguf"), std::string::npos);
  EXPECT_EQ(sluice_abi_version(), SLUICE_ABI_VERSION);
}

}  // namespace
}  // namespace sluice
