#include "src/daemon/disk.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "src/daemon/config.h"
#include "tests/support/temp_folder.h"

namespace sluice::daemon {
namespace {

constexpr uint64_t kGiB = 1ull << 30;

Result<uint64_t> choose(uint64_t wanted_bytes, uint64_t free_bytes, uint64_t log_bytes) {
  return choose_disk_capacity(
      "/log", wanted_bytes, {.free_bytes = free_bytes, .log_bytes = log_bytes, .segments = {}});
}

TEST(DiskCapacity, IsHalfOfTheRoomWhereNobodySaysHowMuch) {
  EXPECT_EQ(*choose(0, 40 * kGiB, 0), 20 * kGiB);
  EXPECT_EQ(*choose(0, 30 * kGiB, 10 * kGiB), 20 * kGiB);
  EXPECT_EQ(*choose(0, 10'000 * kGiB, 0), 64 * kGiB);
}

TEST(DiskCapacity, IsRefusedWhereTheFileSystemCannotHoldIt) {
  EXPECT_EQ(*choose(50 * kGiB, 50 * kGiB, 0), 50 * kGiB);
  auto refused = choose(51 * kGiB, 50 * kGiB, 0);
  ASSERT_EQ(refused.error().code, Errc::bad_config);
  EXPECT_NE(refused.error().text.find("/log: disk.capacity is 51 GiB, but the file system has 50"),
            std::string::npos)
      << refused.error().text;
  refused = choose(0, 100 << 20, 0);
  ASSERT_EQ(refused.error().code, Errc::bad_config);
  EXPECT_NE(refused.error().text.find("/log: the file system has 50 MiB"), std::string::npos)
      << refused.error().text;
}

// Others filled the file system while the daemon was down: what the log has is served.
TEST(DiskCapacity, ShrinksWithTheRoomOfALogThatIsThere) {
  EXPECT_EQ(*choose(51 * kGiB, 30 * kGiB, 20 * kGiB), 50 * kGiB);
  EXPECT_EQ(*choose(51 * kGiB, 0, 20 * kGiB), 20 * kGiB);
  EXPECT_EQ(*choose(51 * kGiB, 0, 1 << 20), kDiskBytesMin);
  EXPECT_EQ(*choose(0, 0, 1 << 20), kDiskBytesMin);
}

TEST(DiskSegments, AreFewButNotTooFewWhateverTheCapacity) {
  EXPECT_EQ(choose_segment_bytes(64 << 20), 4u << 20);
  EXPECT_EQ(choose_segment_bytes(64 * kGiB), kGiB / 4);
  EXPECT_EQ(choose_segment_bytes(1024 * kGiB), 2 * kGiB);
  EXPECT_EQ(choose_segment_bytes(kDiskBytesMax), 16 * kGiB);
  for (uint64_t capacity = 64 << 20; capacity <= 8192 * kGiB; capacity = capacity * 7 / 5) {
    const uint64_t bytes = choose_segment_bytes(capacity);
    EXPECT_EQ(bytes % store::kBlockBytes, 0u);
    EXPECT_GE(capacity / bytes, 16u) << capacity;
    EXPECT_LE(segments_at_once({}, capacity, bytes), 514u) << capacity;
  }
}

TEST(DiskSegments, CountAtOnceWithThoseThatAreThere) {
  EXPECT_EQ(segments_at_once({}, 1000, 100), 11u);
  EXPECT_EQ(segments_at_once(std::vector<uint64_t>{10, 100, 90}, 1000, 100), 4u + 8u)
      << "short ones stay short, and there is room for more";
  EXPECT_EQ(segments_at_once(std::vector<uint64_t>{500, 500}, 1000, 100), 11u)
      << "a long one gives way to many";
  EXPECT_EQ(segments_at_once(std::vector<uint64_t>{900, 900}, 1000, 100), 19u)
      << "the log was larger";
}

TEST(OpenFiles, HaveRoomForSegmentsAndConnections) {
  const OpenFiles files{.limit = 1024, .connections = 256};
  EXPECT_TRUE(files.check(0).has_value());
  EXPECT_TRUE(files.check(704).has_value());
  Status status = files.check(705);
  ASSERT_TRUE(status.has_error());
  EXPECT_EQ(status.error().code, Errc::bad_config);
  EXPECT_NE(
      status.error().text.find("may open 1024 files, expected 1025 or more: 705 for segments"),
      std::string::npos)
      << status.error().text;
}

TEST(OpenFiles, AreRaisedToTheHardLimit) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low = {.rlim_cur = 64, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(raise_open_files(), before.rlim_max);
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

class OpenDisk : public ::testing::Test {
 protected:
  Result<std::unique_ptr<store::DiskTier>> open(uint64_t files_max = 1024,
                                                uint64_t capacity_bytes = kDiskBytesMin) {
    return open_disk(
        {.folder = temp_.file("log"),
         .capacity_bytes = capacity_bytes,
         .ram_bytes = 64 << 20,
         .files = {.limit = files_max, .connections = 256}},
        [](const auto&) {},
        clock_,
        log_,
        parts_);
  }

  testing::TempFolder temp_;
  SteadyClock clock_;
  std::ostringstream text_;
  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::ostream_sink_st>(text_)};
  DiskParts parts_;
};

TEST_F(OpenDisk, LooksAtNoFileThatIsNoSegment) {
  std::filesystem::create_directory(temp_.file("log"));
  std::ofstream(temp_.file("log/large.txt")) << "not the log's";
  std::filesystem::resize_file(temp_.file("log/large.txt"), 1ull << 40);  // sparse
  auto tier = open(1024, kDiskBytesMax);
  ASSERT_TRUE(tier.has_error());
  EXPECT_NE(tier.error().text.find("and 0 B in the log"), std::string::npos) << tier.error().text;
}

// The start and the checks before it say the same.
TEST_F(OpenDisk, WarnsOfALogWithLessRoomThanItsCapacity) {
  const std::string folder = temp_.file("log");
  ASSERT_TRUE(open().has_value());
  parts_ = {};
  EXPECT_EQ(check_disk_room(folder, kDiskBytesMin), "");
  EXPECT_EQ(text_.str().find("disk.capacity"), std::string::npos) << text_.str();
  std::ofstream(temp_.file("log/0000000000000001.seg")) << std::string(8192, 'x');
  const std::string warning = check_disk_room(folder, 900ull << 40);
  EXPECT_NE(warning.find(folder + ": disk.capacity is 900 TiB, but the file system has "),
            std::string::npos)
      << warning;
  EXPECT_NE(warning.find(" and 8 KiB in the log; set it lower"), std::string::npos) << warning;
  // A log that large has segments that need a smaller limit of files than this one.
  ASSERT_TRUE(open(1 << 20, 900ull << 40).has_value());
  EXPECT_NE(text_.str().find("event=disk disk=" + folder + " reason=\"" + folder +
                             ": disk.capacity is 900 TiB, but"),
            std::string::npos)
      << text_.str();
}

TEST_F(OpenDisk, RoomIsMeasuredWithoutAnythingBeingMade) {
  EXPECT_EQ(check_disk_room(temp_.file("log"), kDiskBytesMin), "");
  EXPECT_FALSE(std::filesystem::exists(temp_.file("log")));
  EXPECT_NE(check_disk_room(temp_.file("log"), 900ull << 40), "");
  EXPECT_NE(check_disk_room(temp_.file("no/such/log"), kDiskBytesMin).find("No such file"),
            std::string::npos);
}

TEST_F(OpenDisk, NamesSegmentsThatAreNoFilesAndGapsBetweenThem) {
  std::filesystem::create_directory(temp_.file("log"));
  std::ofstream(temp_.file("log/0000000000000001.seg")) << std::string(8192, 'x');
  std::filesystem::create_directory(temp_.file("log/0000000000000003.seg"));
  std::filesystem::create_symlink(temp_.file("away"), temp_.file("log/0000000000000004.seg"));
  std::ofstream(temp_.file("log/0000000000000007.seg")) << std::string(8192, 'x');
  ASSERT_TRUE(open().has_value()) << text_.str();
  for (const char* number : {"0000000000000003", "0000000000000004"}) {
    EXPECT_NE(
        text_.str().find(std::string(number) + ".seg is no regular file; it is not looked at"),
        std::string::npos)
        << text_.str();
  }
  EXPECT_NE(
      text_.str().find("log/*.seg: of the segments 0000000000000002 to 0000000000000006 there "
                       "is no file"),
      std::string::npos)
      << text_.str();
}

TEST_F(OpenDisk, IsRefusedWhereItsSegmentsCannotAllBeOpen) {
  auto tier = open(256 + 64 + 16);
  ASSERT_TRUE(tier.has_error());
  EXPECT_EQ(tier.error().code, Errc::bad_config);
  parts_ = {};
  EXPECT_TRUE(open(256 + 64 + 17).has_value());
}

TEST_F(OpenDisk, TellsWhatRecoveryFoundInFieldsOfOneLine) {
  std::filesystem::create_directory(temp_.file("log"));
  std::ofstream(temp_.file("log/0000000000000001.seg")) << std::string(8192, 'x');
  ASSERT_TRUE(open().has_value());
  const std::string text = text_.str();
  EXPECT_NE(text.find("event=recovery disk=" + temp_.file("log") + " reason=\""), std::string::npos)
      << text;
  EXPECT_NE(text.find("event=recovered disk=" + temp_.file("log") + " direct_io="),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace sluice::daemon
