#include "src/daemon/disk.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/base/units.h"
#include "src/daemon/config.h"

namespace sluice::daemon {
namespace {

constexpr uint64_t kDefaultBytesMax = 64ull << 30;
// So that dropping one loses little, and none is smaller than the largest page of most models.
constexpr uint64_t kSegmentsMin = 16;
constexpr uint64_t kSegmentBytesMax = 256ull << 20;
constexpr uint64_t kQueueBytesMax = 256ull << 20;
constexpr uint64_t kQueueBytesMin = 1ull << 20;
constexpr uint32_t kReadThreads = 4;

struct Room {
  uint64_t free_bytes = 0;
  uint64_t log_bytes = 0;
};

Result<Room> measure(const std::string& folder, store::PosixDevice& device) {
  struct statvfs there {};

  if (statvfs(folder.c_str(), &there) != 0) {
    return SLUICE_ERR(Errc::io_error, "{}: statvfs: {}", folder, std::strerror(errno));
  }
  Room room{.free_bytes = uint64_t{there.f_bavail} * there.f_frsize, .log_bytes = 0};
  SLUICE_TRY(std::vector<std::string> names, device.list());
  for (const std::string& name : names) {
    SLUICE_TRY(auto file, device.open(name));
    SLUICE_TRY(uint64_t bytes, file->size());
    room.log_bytes += bytes;
  }
  return room;
}

void log_recovery(const store::RecoveryReport& report,
                  const std::string& folder,
                  double seconds,
                  spdlog::logger& log) {
  for (const std::string& line : report.lines) {
    log.warn("event=recovery {}", line);
  }
  log.info(
      "event=recovered disk={} pages={} bytes={} segments={} scanned={} dropped_tails={} "
      "damaged={} seconds={:.2f}",
      folder,
      report.records,
      report.log_bytes,
      report.segments,
      report.scanned_segments,
      report.dropped_tails,
      report.damaged,
      seconds);
}

}  // namespace

Result<uint64_t> choose_disk_capacity(uint64_t wanted_bytes,
                                      uint64_t free_bytes,
                                      uint64_t log_bytes) {
  const uint64_t room = free_bytes + log_bytes;
  const uint64_t chosen = wanted_bytes != 0 ? wanted_bytes : std::min(room / 2, kDefaultBytesMax);
  if (chosen > room) {
    return SLUICE_ERR(Errc::bad_config,
                      "disk.capacity of {}, but the file system has {} for it: {} free and {} in "
                      "the log; set it lower, or make room",
                      format_bytes(chosen),
                      format_bytes(room),
                      format_bytes(free_bytes),
                      format_bytes(log_bytes));
  }
  if (chosen < kDiskBytesMin) {
    return SLUICE_ERR(Errc::bad_config,
                      "the file system has {} for the disk tier, expected at least {}",
                      format_bytes(chosen),
                      format_bytes(kDiskBytesMin));
  }
  return chosen;
}

Result<std::unique_ptr<store::DiskTier>> open_disk(const DiskOptions& options,
                                                   const store::IoThreads::Post& post,
                                                   const Clock& clock,
                                                   spdlog::logger& log,
                                                   DiskParts& parts) {
  SLUICE_TRY(parts.device, store::PosixDevice::open_folder({.folder = options.folder}));
  parts.threads = std::make_unique<store::IoThreads>(post, kReadThreads);
  SLUICE_TRY(Room room, measure(options.folder, *parts.device));
  store::DiskTierConfig config;
  SLUICE_TRY(config.capacity_bytes,
             choose_disk_capacity(options.capacity_bytes, room.free_bytes, room.log_bytes));
  config.segment_bytes = std::min(kSegmentBytesMax, config.capacity_bytes / kSegmentsMin) /
                         store::kBlockBytes * store::kBlockBytes;
  config.queue_bytes_max = std::clamp(options.ram_bytes / 4, kQueueBytesMin, kQueueBytesMax);
  config.log_line = [&log](std::string_view line) { log.warn("event=disk {}", line); };
  const uint64_t start_ns = clock.now_ns();
  SLUICE_TRY(auto tier, store::DiskTier::open(config, *parts.device, *parts.threads, clock));
  log_recovery(
      tier->recovery(), options.folder, static_cast<double>(clock.now_ns() - start_ns) / 1e9, log);
  return tier;
}

}  // namespace sluice::daemon
