// The block device on a real folder, with and without O_DIRECT.
#include "store/posix_device.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/support/temp_folder.h"

namespace {

std::vector<std::string> synced_folders;  // in the order of their fsync()
int fsync_error = 0;                      // what fsync() answers with

}  // namespace

// In place of the C library's, so that a test sees what is synced and can refuse it.
extern "C" int fsync(int fd) {
  synced_folders.push_back(
      std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)).string());
  errno = fsync_error;
  return fsync_error != 0 ? -1 : static_cast<int>(syscall(SYS_fsync, fd));
}

namespace sluice::store {
namespace {

class PosixDeviceFolder : public ::testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<PosixDevice> open() {
    auto device =
        PosixDevice::open_folder({.folder = folder_ + "/log", .use_page_cache = GetParam()});
    EXPECT_TRUE(device.has_value()) << device.error().to_string();
    return *std::move(device);
  }

  void SetUp() override {
    if (!GetParam() && !open()->is_direct()) {
      GTEST_SKIP() << folder_ << " is on a file system without O_DIRECT";
    }
    std::filesystem::remove_all(folder_ + "/log");
    synced_folders.clear();
  }

  void TearDown() override { fsync_error = 0; }

  testing::TempFolder temp_;
  std::string folder_ = temp_.path();
};

AlignedBuffer counted(uint64_t bytes) {
  AlignedBuffer out(bytes);
  for (uint64_t i = 0; i < bytes; ++i) {
    out.bytes()[i] = static_cast<uint8_t>(i / 512 + i);
  }
  return out;
}

TEST_P(PosixDeviceFolder, KeepsWhatWasWritten) {
  auto device = open();
  auto file = *device->create("a.seg");
  AlignedBuffer bytes = counted(3 << 20);
  ASSERT_TRUE(file->write(4096, bytes.bytes()).has_value());
  ASSERT_TRUE(file->sync(SyncSite::commit).has_value());
  ASSERT_TRUE(device->sync_folder(SyncSite::segment_name).has_value());
  EXPECT_EQ(*file->size(), (3u << 20) + 4096);
  AlignedBuffer out(bytes.size());
  auto again = *device->open("a.seg");
  ASSERT_TRUE(again->read(4096, out.bytes()).has_value());
  EXPECT_TRUE(std::ranges::equal(out.bytes(), bytes.bytes()));
  EXPECT_EQ(device->stats().written_bytes, bytes.size());
  EXPECT_EQ(device->stats().syncs, 2u);
  EXPECT_EQ(device->stats().errors, 0u);
}

TEST_P(PosixDeviceFolder, AReadBeyondTheEndIsTruncated) {
  auto device = open();
  auto file = *device->create("a.seg");
  ASSERT_TRUE(file->write(0, counted(8192).bytes()).has_value());
  ASSERT_TRUE(file->truncate(4096).has_value());
  AlignedBuffer out(8192);
  Status status = file->read(0, out.bytes());
  ASSERT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::truncated);
  EXPECT_EQ(device->stats().errors, 1u);
}

TEST_P(PosixDeviceFolder, NamesAreListedAndRemovedAndNeverTakenTwice) {
  auto device = open();
  auto file = *device->create("b");
  ASSERT_TRUE(device->create("a").has_value());
  EXPECT_EQ(device->create("a").error().code, Errc::io_error);
  EXPECT_EQ(*device->list(), (std::vector<std::string>{"a", "b", "lock"}));
  ASSERT_TRUE(file->write(0, counted(4096).bytes()).has_value());
  ASSERT_TRUE(device->remove("b").has_value());
  EXPECT_EQ(device->remove("b").error().code, Errc::not_found);
  EXPECT_EQ(device->open("b").error().code, Errc::not_found);
  EXPECT_EQ(device->path_of("b"), folder_ + "/log/b");
}

TEST_P(PosixDeviceFolder, ARemovedFileGivesItsRoomBackWhileItIsOpen) {
  auto device = open();
  auto writer = *device->create("a");
  auto reader = *device->open("a");
  ASSERT_TRUE(writer->write(0, counted(8192).bytes()).has_value());
  ASSERT_TRUE(device->remove("a").has_value());
  EXPECT_EQ(*reader->size(), 0u);
  AlignedBuffer out(4096);
  EXPECT_EQ(reader->read(0, out.bytes()).error().code, Errc::not_found);
}

TEST_P(PosixDeviceFolder, IsOpenOnceAtATime) {
  auto device = open();
  auto second = PosixDevice::open_folder({.folder = folder_ + "/log"});
  ASSERT_TRUE(second.has_error());
  EXPECT_EQ(second.error().code, Errc::bad_config);
  device.reset();
  EXPECT_NE(open(), nullptr);
}

TEST_P(PosixDeviceFolder, ItsOwnNameIsDurable) {
  open();
  EXPECT_EQ(synced_folders, std::vector<std::string>{folder_});
  open();
  EXPECT_EQ(synced_folders.size(), 2u) << "the first may have been killed before its sync";
}

TEST_P(PosixDeviceFolder, IsNotMadeWhereItsNameCannotBeDurable) {
  std::filesystem::create_directory(folder_ + "/old");
  fsync_error = EIO;
  auto device = PosixDevice::open_folder({.folder = folder_ + "/log/"});
  ASSERT_TRUE(device.has_error());
  EXPECT_NE(device.error().text.find("; make the folder yourself"), std::string::npos)
      << device.error().text;
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/log"));
  EXPECT_TRUE(PosixDevice::open_folder({.folder = folder_ + "/old"}).has_value());
}

TEST_P(PosixDeviceFolder, LeavesOtherFilesAsTheyAre) {
  std::filesystem::create_directory(folder_ + "/log");
  const std::string kept = folder_ + "/kept";
  std::ofstream(kept) << "kept";
  std::filesystem::create_symlink(kept, folder_ + "/log/direct-io.probe");
  std::ofstream(folder_ + "/log/probe") << "kept";
  EXPECT_EQ(open()->is_direct(), !GetParam());
  for (const std::string& path : {kept, folder_ + "/log/probe"}) {
    std::string text;
    std::ifstream(path) >> text;
    EXPECT_EQ(text, "kept") << path;
  }
}

TEST_P(PosixDeviceFolder, SaysWhatIsWrongWithAFolder) {
  EXPECT_EQ(PosixDevice::open_folder({}).error().code, Errc::bad_config);
  auto device = PosixDevice::open_folder({.folder = folder_ + "/no/such"});
  ASSERT_TRUE(device.has_error());
  EXPECT_NE(device.error().text.find("/no/such"), std::string::npos);
}

TEST_P(PosixDeviceFolder, AWriteThatTheSystemRefusesIsAnError) {
  auto device = open();
  auto file = *device->create("a");
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = {.rlim_cur = 8192, .rlim_max = before.rlim_max};
  auto old = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  Status status = file->write(0, counted(16384).bytes());
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old);
  ASSERT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::io_error);
  EXPECT_NE(status.error().text.find("offset 8192"), std::string::npos) << status.error().text;
}

INSTANTIATE_TEST_SUITE_P(Both, PosixDeviceFolder, ::testing::Bool(), [](const auto& cached) {
  return cached.param ? "PageCache" : "Direct";
});

TEST(PosixDevice, SaysThatItsFolderIsGone) {
  testing::TempFolder folder;
  auto device = *PosixDevice::open_folder({.folder = folder.path() + "/log"});
  std::filesystem::remove_all(folder.path() + "/log");
  auto file = device->create("0000000000000001.seg");
  ASSERT_TRUE(file.has_error());
  EXPECT_EQ(file.error().code, Errc::io_error);
  EXPECT_NE(file.error().text.find("start sluiced again"), std::string::npos);
}

}  // namespace
}  // namespace sluice::store
