#include "src/model/digest.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "src/base/bytes.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

// A folder of its own for each test, with an empty cache beside a model of three files.
class ModelDigest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    fs::create_directories(model());
    write_file(model() / "b.safetensors", "weights b");
    write_file(model() / "a.safetensors", "weights a");
    write_file(model() / "config.json", "{}");
    write_file(model() / "tokenizer.json", "is not of the digest");
    options_.cache_folder = cache().string();
    options_.settle_ns = 0;
    options_.progress = [this](uint64_t done, uint64_t total) {
      done_bytes_ = done;
      total_bytes_ = total;
    };
  }

  void TearDown() override { fs::remove_all(root_); }

  fs::path model() const { return root_ / "model"; }

  fs::path cache() const { return root_ / "cache" / "digests"; }

  Result<Hash32> digest() { return model_digest(model().string(), options_); }

  size_t entries() const {
    return fs::exists(cache()) ? static_cast<size_t>(std::distance(fs::directory_iterator(cache()),
                                                                   fs::directory_iterator()))
                               : 0;
  }

  // Writes `change(text)` over each cache entry.
  template <class Change>
  void change_entries(Change change) {
    for (const auto& entry : fs::directory_iterator(cache())) {
      std::ifstream in(entry.path(), std::ios::binary);
      std::string text((std::istreambuf_iterator<char>(in)), {});
      write_file(entry.path(), change(text));
    }
  }

  fs::path root_;
  DigestOptions options_;
  uint64_t done_bytes_ = 0;
  uint64_t total_bytes_ = 0;
};

Hash32 by_hand(const std::vector<std::pair<std::string, std::string>>& files) {
  ByteWriter out;
  out.write_bytes(as_bytes("sluice model 1"));
  for (const auto& [name, text] : files) {
    out.write(static_cast<uint32_t>(name.size())).write_bytes(as_bytes(name));
    out.write(uint64_t{text.size()}).write_bytes(sha256(as_bytes(text)));
  }
  return sha256(out.bytes());
}

TEST_F(ModelDigest, FolderIsItsConfigAndWeightsByName) {
  EXPECT_EQ(
      *digest(),
      by_hand(
          {{"a.safetensors", "weights a"}, {"b.safetensors", "weights b"}, {"config.json", "{}"}}));
  EXPECT_EQ(done_bytes_, 20u);
  EXPECT_EQ(total_bytes_, 20u);
}

TEST_F(ModelDigest, GgufFileIsItself) {
  write_file(root_ / "m.gguf", "GGUF...");
  EXPECT_EQ(*model_digest((root_ / "m.gguf").string(), options_), by_hand({{"m.gguf", "GGUF..."}}));
}

TEST_F(ModelDigest, SecondTimeComesFromTheCache) {
  Hash32 first = *digest();
  EXPECT_EQ(entries(), 3u);
  std::atomic<bool> cancel = true;  // reading a file again would stop
  options_.cancel = &cancel;
  EXPECT_EQ(*digest(), first);
  EXPECT_EQ(done_bytes_, 20u);
}

TEST_F(ModelDigest, ChangedFileIsReadAgain) {
  Hash32 first = *digest();
  write_file(model() / "a.safetensors", "weights A");  // same length
  Hash32 second = *digest();
  EXPECT_NE(second, first);
  EXPECT_EQ(
      second,
      by_hand(
          {{"a.safetensors", "weights A"}, {"b.safetensors", "weights b"}, {"config.json", "{}"}}));
  EXPECT_EQ(entries(), 3u);
}

TEST_F(ModelDigest, DamagedEntriesAreIgnoredAndWrittenAgain) {
  Hash32 first = *digest();
  size_t flip = 0;
  auto damage = [&](std::string text) {
    text[flip % text.size()] ^= 1;
    return text;
  };
  // Every byte of an entry, the stored digest's hex digits included.
  for (; flip < 400; flip += 7) {
    change_entries(damage);
    ASSERT_EQ(*digest(), first) << "byte " << flip;
  }
  change_entries([](const std::string& text) { return text.substr(0, text.size() / 2); });
  EXPECT_EQ(*digest(), first);
  std::atomic<bool> cancel = true;
  options_.cancel = &cancel;
  EXPECT_EQ(*digest(), first);
}

TEST_F(ModelDigest, FilesThatJustChangedAreNotCached) {
  options_.settle_ns = 3'600'000'000'000;
  ASSERT_TRUE(digest().has_value());
  EXPECT_EQ(entries(), 0u);
}

TEST_F(ModelDigest, FileThatChangesWhileItIsReadIsAnErrorAndNotCached) {
  write_file(model() / "a.safetensors", std::string(3 << 20, 'a'));
  options_.progress = [this, changed = false](uint64_t, uint64_t) mutable {
    if (!changed) {
      changed = true;
      std::ofstream(model() / "a.safetensors", std::ios::binary | std::ios::app) << "more";
    }
  };
  Result<Hash32> result = digest();
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().code, Errc::io_error);
  EXPECT_EQ(entries(), 0u);
}

TEST_F(ModelDigest, CancelStopsBetweenPieces) {
  std::atomic<bool> cancel = false;
  write_file(model() / "a.safetensors", std::string(3 << 20, 'a'));
  options_.cancel = &cancel;
  options_.progress = [&](uint64_t, uint64_t) { cancel = true; };
  EXPECT_EQ(digest().error().code, Errc::timed_out);
}

TEST_F(ModelDigest, NoCacheFolderKeepsNothing) {
  options_.cache_folder.clear();
  EXPECT_TRUE(digest().has_value());
  EXPECT_EQ(entries(), 0u);
}

TEST_F(ModelDigest, CacheThatCannotBeWrittenDoesNoHarm) {
  options_.cache_folder = (model() / "config.json" / "below a file").string();
  EXPECT_TRUE(digest().has_value());
}

TEST_F(ModelDigest, MissingFilesAreInputErrors) {
  fs::remove(model() / "config.json");
  EXPECT_EQ(digest().error().code, Errc::io_error);
  write_file(model() / "config.json", "{}");
  fs::remove(model() / "a.safetensors");
  fs::remove(model() / "b.safetensors");
  EXPECT_EQ(digest().error().code, Errc::io_error);
  EXPECT_EQ(model_digest((root_ / "none.gguf").string(), options_).error().code, Errc::io_error);
}

TEST(NamedModelDigest, NameAndRevisionDoNotRunTogether) {
  EXPECT_NE(named_model_digest("ab", "c"), named_model_digest("a", "bc"));
  EXPECT_NE(named_model_digest("ab", ""), named_model_digest("", "ab"));
  EXPECT_EQ(named_model_digest("ab", "c"), named_model_digest("ab", "c"));
}

TEST(DigestCacheFolder, FollowsTheUsersVariables) {
  ::setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(digest_cache_folder(), "/x/sluice/digests");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  ::setenv("HOME", "/h", 1);
  EXPECT_EQ(digest_cache_folder(), "/h/.cache/sluice/digests");
  ::unsetenv("HOME");
  EXPECT_EQ(digest_cache_folder(), "");
}

}  // namespace
}  // namespace sluice
