// The folder of a disk tier: rights, file system, room, and whether direct I/O really works there.
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <utility>

#include "src/base/disk_room.h"
#include "src/base/result.h"
#include "src/base/units.h"
#include "src/cli/doctor.h"

namespace sluice::cli {
namespace {

constexpr size_t kBlockBytes = 4096;  // the log's unit (store/FORMAT.md)
constexpr size_t kTestBytes = 16 * kBlockBytes;
constexpr uint64_t kFreeMin = 1ull << 30;

struct FileSystem {
  long magic = 0;
  const char* name = "";
  bool local_disk = true;  // keeps what was synced, and knows direct I/O
};

constexpr FileSystem kFileSystems[] = {
    {0xef53, "ext4", true},
    {0x58465342, "xfs", true},
    {0x9123683e, "btrfs", true},
    {0xf2f52010, "f2fs", true},
    {0x2fc12fc1, "zfs", true},
    {0x01021994, "tmpfs", false},
    {0x6969, "nfs", false},
    {0x794c7630, "overlay", false},
    {0x65735546, "fuse", false},
    {0xff534d42, "cifs", false},
    {0x01021997, "9p", false},
};

struct FreeBlock {
  void operator()(uint8_t* block) const { std::free(block); }
};

using Block = std::unique_ptr<uint8_t, FreeBlock>;

Block aligned_block() {
  Block block(static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, kTestBytes)));
  SLUICE_ASSERT(block != nullptr);
  return block;
}

Finding judge_folder(const std::string& path) {
  Finding out{
      .name = "disk_folder", .found = path, .expected = "a folder that this user may write"};

  struct stat info {};

  if (::stat(path.c_str(), &info) != 0) {
    out.status = Health::fail;
    out.found += fmt::format(": {}", std::strerror(errno));
    out.what_to_do = fmt::format("Make it (mkdir -p {}) for the user of sluiced.", path);
  } else if (!S_ISDIR(info.st_mode)) {
    out.status = Health::fail;
    out.found += ": it is no folder";
    out.what_to_do = "Name a folder.";
  } else if (access(path.c_str(), R_OK | W_OK | X_OK) != 0) {
    out.status = Health::fail;
    out.found += fmt::format(": {}", std::strerror(errno));
    out.what_to_do = "Give it to the user of sluiced (chown), or run doctor as that user.";
  }
  return out;
}

Finding judge_file_system(long magic) {
  const auto* known = std::find_if(std::begin(kFileSystems),
                                   std::end(kFileSystems),
                                   [&](const FileSystem& fs) { return fs.magic == magic; });
  const bool found = known != std::end(kFileSystems);
  Finding out{.name = "disk_filesystem",
              .found = found ? known->name : fmt::format("type {:#x}", magic),
              .expected = "a local ext4, xfs, btrfs, f2fs or zfs"};
  if (!found || !known->local_disk) {
    out.status = Health::warn;
    out.what_to_do =
        "Name a folder on a local disk: here the log may be slow, or gone after a restart.";
  }
  return out;
}

Finding judge_free(const struct statfs& info) {
  const auto block = static_cast<uint64_t>(info.f_bsize);
  const uint64_t free = info.f_bavail * block;
  Finding out{
      .name = "disk_free",
      .found = fmt::format("{} of {}", format_bytes(free), format_bytes(info.f_blocks * block)),
      .expected = fmt::format("{} or more", format_bytes(kFreeMin))};
  if (free < kFreeMin) {
    out.status = free < kTestBytes ? Health::fail : Health::warn;
    out.what_to_do = "Make room, or name a folder on a larger disk.";
  }
  return out;
}

Finding judge_capacity(const std::string& folder, uint64_t capacity_bytes) {
  Finding out{.name = "disk_capacity",
              .found = fmt::format("room for {}", format_bytes(capacity_bytes)),
              .expected = "room for disk.capacity, free or in the log"};
  const Result<DiskRoom> room = measure_disk_room(folder);
  const std::string problem =
      room.has_error() ? room.error().text : disk_room_shortfall(folder, capacity_bytes, *room);
  if (!problem.empty()) {
    out.status = Health::warn;
    out.found = problem;
    out.what_to_do = "Set disk.capacity lower, or make room.";
  }
  return out;
}

// Bytes that the disk under a folder writes at once; 0 where nobody says.
uint32_t logical_block_bytes(dev_t device) {
  const std::string node = fmt::format("/sys/dev/block/{}:{}", major(device), minor(device));
  for (const char* queue : {"/queue", "/../queue"}) {  // of a disk, of its partition
    std::ifstream file(node + queue + "/logical_block_size");
    uint32_t bytes = 0;
    if (file >> bytes) {
      return bytes;
    }
  }
  return 0;
}

Finding judge_block(uint32_t bytes) {
  Finding out{.name = "disk_block",
              .found = bytes == 0 ? "nobody says; the test below tells"
                                  : fmt::format("logical blocks of {} bytes", bytes),
              .expected = fmt::format("at most {} bytes", kBlockBytes)};
  if (bytes > kBlockBytes) {
    out.status = Health::fail;
    out.what_to_do = fmt::format(
        "Use a disk with blocks of {} bytes or less: the log is aligned to these.", kBlockBytes);
  }
  return out;
}

// What went wrong where a transfer of all test bytes answered `done`; "" where nothing did.
std::string transfer_problem(const char* step, ssize_t done) {
  if (done < 0) {
    return fmt::format("{}: {}", step, std::strerror(errno));
  }
  return done == static_cast<ssize_t>(kTestBytes)
             ? ""
             : fmt::format("{}: {} of {} bytes", step, done, kTestBytes);
}

// Writes, syncs and reads back; says which step failed. "" where all did.
std::string write_and_read(int fd) {
  Block written = aligned_block();
  Block read = aligned_block();
  for (size_t i = 0; i < kTestBytes; ++i) {
    written.get()[i] = static_cast<uint8_t>(i * 31 + i / kBlockBytes);
  }
  std::fill_n(read.get(), kTestBytes, uint8_t{0});
  std::string problem = transfer_problem("write", ::pwrite(fd, written.get(), kTestBytes, 0));
  if (problem.empty() && ::fdatasync(fd) != 0) {
    problem = fmt::format("fdatasync: {}", std::strerror(errno));
  }
  if (problem.empty()) {
    problem = transfer_problem("read", ::pread(fd, read.get(), kTestBytes, 0));
  }
  if (problem.empty() && !std::equal(written.get(), written.get() + kTestBytes, read.get())) {
    problem = "other bytes came back than were written";
  }
  return problem;
}

// The same on a file of its own with and without O_DIRECT; the file is gone behind it.
std::string try_io(const std::string& folder, int flags) {
  std::string path = folder + "/.sluice-doctor-XXXXXX";
  const int made = ::mkstemp(path.data());
  if (made < 0) {
    return fmt::format("make a file: {}", std::strerror(errno));
  }
  ::close(made);
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags);
  std::string problem = fd < 0 ? fmt::format("open: {}", std::strerror(errno)) : write_and_read(fd);
  if (fd >= 0) {
    ::close(fd);
  }
  ::unlink(path.c_str());
  return problem;
}

Finding judge_direct_io(const std::string& folder) {
  Finding out{.name = "disk_direct_io",
              .found = fmt::format("write, fdatasync and read of {} with O_DIRECT work",
                                   format_bytes(kTestBytes)),
              .expected = fmt::format("O_DIRECT aligned to {} bytes works", kBlockBytes)};
  const std::string direct = try_io(folder, O_DIRECT);
  if (direct.empty()) {
    return out;
  }
  const std::string plain = try_io(folder, 0);
  out.status = plain.empty() ? Health::warn : Health::fail;
  out.found = plain.empty() ? fmt::format("with O_DIRECT: {}; without it works", direct) : plain;
  out.what_to_do =
      plain.empty()
          ? "Use a file system with direct I/O (ext4, xfs); until then the log goes through the "
            "page cache and takes memory twice."
          : "Repair the disk or name another folder: what is written here is not kept.";
  return out;
}

}  // namespace

void check_disk(const DoctorOptions& options, Findings& out) {
  if (options.disk.empty()) {
    return;
  }
  out.push_back(judge_folder(options.disk));
  if (out.back().status == Health::fail) {
    return;
  }

  struct statfs system {};

  struct stat folder {};

  if (::statfs(options.disk.c_str(), &system) != 0 || ::stat(options.disk.c_str(), &folder) != 0) {
    out.back().status = Health::fail;
    out.back().found += fmt::format(": {}", std::strerror(errno));
    out.back().what_to_do = "Repair the mount, or name another folder.";
    return;
  }
  out.push_back(judge_file_system(system.f_type));
  out.push_back(judge_free(system));
  if (options.disk_capacity_bytes != 0) {
    out.push_back(judge_capacity(options.disk, options.disk_capacity_bytes));
  }
  out.push_back(judge_block(logical_block_bytes(folder.st_dev)));
  out.push_back(judge_direct_io(options.disk));
}

}  // namespace sluice::cli
