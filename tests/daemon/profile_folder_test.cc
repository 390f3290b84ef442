// Profiles as files: a start has them again, and no file that is none.
#include "src/daemon/profile_folder.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "src/base/mailbox.h"
#include "store/io_threads.h"
#include "tests/support/temp_folder.h"

namespace sluice::daemon {
namespace {

namespace fs = std::filesystem;

class ProfileFolderTest : public ::testing::Test {
 protected:
  std::unique_ptr<cache::ProfileStore> start(uint64_t bytes_max = 1 << 20) {
    cache::ProfileStoreConfig config = keep_profiles_in(disk_, threads_);
    config.bytes_max = bytes_max;
    auto store = std::make_unique<cache::ProfileStore>(std::move(config));
    read_profiles(disk_, *store, log_);
    return store;
  }

  // The answer to a whole file.
  Result<uint32_t> put(cache::ProfileStore& store, const Bytes& file) {
    std::optional<Result<uint32_t>> answer;
    store.put_piece(
        sha256(file), static_cast<uint32_t>(file.size()), 0, file, [&](Result<uint32_t> there) {
          answer.emplace(std::move(there));
        });
    EXPECT_TRUE(mailbox_.run_until([&] { return answer.has_value(); }, 10'000));
    return *std::move(answer);
  }

  std::string path_of(const Bytes& file) const {
    return disk_ + "/profiles/" + to_hex(sha256(file)) + ".profile";
  }

  testing::TempFolder folder_;
  std::string disk_ = folder_.path();
  std::ostringstream lines_;
  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::ostream_sink_st>(lines_)};
  Mailbox mailbox_;
  store::IoThreads threads_{[this](std::function<void()> work) { mailbox_.post(std::move(work)); },
                            1};
  Bytes a_ = Bytes(1000, 1);
  Bytes b_ = Bytes(1000, 2);
};

TEST_F(ProfileFolderTest, AStartHasWhatWasPutBefore) {
  auto store = start();
  EXPECT_EQ(*put(*store, a_), a_.size());
  store = start();
  ASSERT_NE(store->find(sha256(a_)), nullptr);
  EXPECT_EQ(*store->find(sha256(a_)), a_);
  EXPECT_EQ(store->stats().profiles, 1u);
}

TEST_F(ProfileFolderTest, AFileThatIsNotItsNameIsLeftAloneAndNamed) {
  auto store = start();
  ASSERT_TRUE(put(*store, a_).has_value());
  ASSERT_TRUE(put(*store, b_).has_value());
  std::ofstream(path_of(a_), std::ios::binary | std::ios::app) << "x";
  std::ofstream(disk_ + "/profiles/notes.txt") << "no profile";
  fs::create_directory(disk_ + "/profiles/folder.profile");
  store = start();
  EXPECT_EQ(store->find(sha256(a_)), nullptr);
  EXPECT_NE(store->find(sha256(b_)), nullptr);
  EXPECT_NE(lines_.str().find(path_of(a_)), std::string::npos) << lines_.str();
  EXPECT_TRUE(fs::exists(path_of(a_)));
  EXPECT_EQ(*put(*store, a_), a_.size()) << "takes its place";
  EXPECT_NE(start()->find(sha256(a_)), nullptr);
}

TEST_F(ProfileFolderTest, WhatIsForgottenIsNoFileAnyMore) {
  auto store = start(a_.size() + b_.size() / 2);
  ASSERT_TRUE(put(*store, a_).has_value());
  ASSERT_TRUE(put(*store, b_).has_value());
  EXPECT_EQ(store->find(sha256(a_)), nullptr);
  store = start();
  EXPECT_EQ(store->find(sha256(a_)), nullptr);
  EXPECT_NE(store->find(sha256(b_)), nullptr);
}

TEST_F(ProfileFolderTest, AFolderThatTakesNoFileIsAnError) {
  auto store = start();
  std::ofstream(disk_ + "/profiles") << "in the way";
  EXPECT_EQ(put(*store, a_).error().code, Errc::io_error);
  EXPECT_EQ(store->find(sha256(a_)), nullptr);
}

}  // namespace
}  // namespace sluice::daemon
