// What doctor says of machines that are not here, and of folders and sockets that are.
#include "src/cli/doctor.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>

#include "src/base/version.h"
#include "tests/support/temp_folder.h"

namespace sluice::cli {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

class DoctorTest : public ::testing::Test {
 protected:
  testing::TempFolder temp_;
  std::filesystem::path folder_ = temp_.path();
};

// A finding that is not ok says what to do, one that is says nothing.
void expect_whole(const Finding& finding) {
  EXPECT_FALSE(finding.name.empty());
  EXPECT_FALSE(finding.found.empty()) << finding.name;
  EXPECT_FALSE(finding.expected.empty()) << finding.name;
  EXPECT_EQ(finding.status == Health::ok, finding.what_to_do.empty()) << finding.name;
}

TEST_F(DoctorTest, OldKernelsAreAWarning) {
  EXPECT_EQ(judge_kernel("6.1.0-18-amd64").status, Health::ok);
  EXPECT_EQ(judge_kernel("5.15.0").status, Health::ok);
  EXPECT_EQ(judge_kernel("10.0.1").status, Health::ok);
  for (const char* old : {"5.14.21-150500", "4.19.0-26-amd64", "strange"}) {
    EXPECT_EQ(judge_kernel(old).status, Health::warn) << old;
    expect_whole(judge_kernel(old));
  }
}

TEST_F(DoctorTest, CpuNamesTheTargetThatTheCodecUses) {
  EXPECT_EQ(judge_cpu(true, false).found, "AVX2; the codec uses its AVX2 code");
  EXPECT_EQ(judge_cpu(true, true).found, "AVX2 and AVX-512; the codec uses its AVX2 code");
  EXPECT_EQ(judge_cpu(false, false).found, "no AVX2; the codec uses its scalar code");
  EXPECT_EQ(judge_cpu(false, false).status, Health::ok);
}

TEST_F(DoctorTest, ARamTierThatTheMachineCannotHoldIsAWarning) {
  EXPECT_EQ(judge_daemon_memory(1ull << 30, 2ull << 30).status, Health::ok);
  const Finding large = judge_daemon_memory(2ull << 30, 2ull << 30);
  EXPECT_EQ(large.status, Health::warn);
  EXPECT_NE(large.what_to_do.find("--ram"), std::string::npos);
  expect_whole(large);
}

TEST_F(DoctorTest, TheSmallerOfMemoryAndControlGroupCounts) {
  EXPECT_EQ(judge_memory(8ull << 30, kNone, "").status, Health::ok);
  EXPECT_EQ(judge_memory(512ull << 20, kNone, "always [madvise] never").status, Health::warn);
  Finding limited = judge_memory(8ull << 30, 256ull << 20, "");
  EXPECT_EQ(limited.status, Health::warn);
  EXPECT_NE(limited.what_to_do.find("256 MiB"), std::string::npos) << limited.what_to_do;
}

TEST_F(DoctorTest, FewOpenFilesAreAWarning) {
  EXPECT_EQ(judge_open_files(kNone).status, Health::ok);
  EXPECT_EQ(judge_open_files(256).status, Health::warn);
}

TEST_F(DoctorTest, AClockThatIsWrongFailsAndASlowOneIsAWarning) {
  EXPECT_EQ(judge_clock("tsc", 25, 2026).status, Health::ok);
  EXPECT_EQ(judge_clock("hpet", 1200, 2026).status, Health::warn);
  EXPECT_EQ(judge_clock("tsc", 25, 1970).status, Health::fail);
}

TEST_F(DoctorTest, ADaemonOfAnotherVersionIsAWarning) {
  EXPECT_EQ(judge_daemon_version(std::string("sluiced ") + kVersion).status, Health::ok);
  EXPECT_EQ(judge_daemon_version("sluiced 99.0.0").status, Health::warn);
}

// Member by member: GCC 12 warns of a designated initialiser's strings as uninitialised.
DoctorOptions options_of(const std::string& socket, const std::string& disk = "") {
  DoctorOptions options;
  options.daemon.socket = socket;
  options.daemon.deadline_ms = 200;
  options.disk = disk;
  return options;
}

TEST_F(DoctorTest, EveryFindingHasItsParts) {
  Findings findings = examine(options_of(folder_ / "none.sock", folder_));
  std::set<std::string> names;
  for (const Finding& finding : findings) {
    expect_whole(finding);
    EXPECT_TRUE(names.insert(finding.name).second) << finding.name << " is there twice";
  }
  EXPECT_EQ(names.count("daemon"), 0u) << "there is no socket to ask";
}

TEST_F(DoctorTest, SocketThatIsAFileOrThatNobodyServesFails) {
  const std::string path = folder_ / "s.sock";
  std::ofstream(path) << "no socket";
  Findings findings;
  check_socket(options_of(path), findings);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_NE(findings[0].found.find("is no socket"), std::string::npos);

  std::filesystem::remove(path);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  findings.clear();
  check_socket(options_of(path), findings);
  close(fd);
  ASSERT_EQ(findings.size(), 3u);
  EXPECT_EQ(findings[2].name, "daemon");
  EXPECT_EQ(findings[2].status, Health::fail);
  expect_whole(findings[2]);
}

TEST_F(DoctorTest, AFolderThatIsNoneFails) {
  for (const auto& path : {folder_ / "none", folder_ / "file"}) {
    std::ofstream(folder_ / "file") << "x";
    Findings findings;
    check_disk(options_of("", path), findings);
    ASSERT_EQ(findings.size(), 1u);
    EXPECT_EQ(findings[0].status, Health::fail);
    expect_whole(findings[0]);
  }
}

TEST_F(DoctorTest, ACapacityThatTheFileSystemLacksRoomForIsAWarning) {
  DoctorOptions options = options_of("", folder_);
  auto capacity = [&](uint64_t bytes) {
    options.disk_capacity_bytes = bytes;
    Findings findings;
    check_disk(options, findings);
    auto found = std::find_if(findings.begin(), findings.end(), [](const Finding& finding) {
      return finding.name == "disk_capacity";
    });
    return found == findings.end() ? Finding{} : *found;
  };
  EXPECT_EQ(capacity(0).name, "") << "nobody says what it is";
  EXPECT_EQ(capacity(1 << 20).status, Health::ok);
  expect_whole(capacity(1 << 20));
  const Finding warning = capacity(900ull << 40);
  EXPECT_EQ(warning.status, Health::warn);
  expect_whole(warning);
  EXPECT_NE(warning.found.find(folder_.string() + ": disk.capacity is 900 TiB, but"),
            std::string::npos)
      << warning.found;
  // What the log holds is room for it.
  std::ofstream(folder_ / "0000000000000001.seg") << std::string(8192, 'x');
  EXPECT_NE(capacity(900ull << 40).found.find("8 KiB in the log"), std::string::npos);
}

// A disk that takes a part says how much, and no errno of an earlier call.
TEST_F(DoctorTest, AShortWriteIsToldAsOne) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {.rlim_cur = 8192, .rlim_max = before.rlim_max};
  auto old = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  Findings findings;
  check_disk(options_of("", folder_), findings);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old);
  const Finding& direct_io = findings.back();
  EXPECT_EQ(direct_io.name, "disk_direct_io");
  EXPECT_EQ(direct_io.found, "write: 8192 of 65536 bytes");
  EXPECT_EQ(direct_io.status, Health::fail);
  expect_whole(direct_io);
}

}  // namespace
}  // namespace sluice::cli
