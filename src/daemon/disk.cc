#include "src/daemon/disk.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "src/base/units.h"
#include "src/daemon/config.h"
#include "src/daemon/log_value.h"
#include "store/log_format.h"

namespace sluice::daemon {
namespace {

constexpr uint64_t kDefaultBytesMax = 64ull << 30;
// So that dropping one segment loses little, and none is smaller than the largest page of most
// models; and so that not many are open, for each takes a descriptor.
constexpr uint64_t kSegmentsMin = 16;
constexpr uint64_t kSegmentsMax = 512;
constexpr uint64_t kSegmentBytesMin = 256ull << 20;
constexpr uint64_t kSegmentBytesMax = 16ull << 30;
constexpr uint64_t kQueueBytesMax = 256ull << 20;
constexpr uint64_t kQueueBytesMin = 1ull << 20;
constexpr uint32_t kReadThreads = 4;

struct Room {
  uint64_t free_bytes = 0;
  uint64_t log_bytes = 0;
  std::vector<uint64_t> segments;  // bytes of each
};

Result<Room> measure(const std::string& folder, store::PosixDevice& device) {
  struct statvfs there {};

  if (statvfs(folder.c_str(), &there) != 0) {
    return SLUICE_ERR(Errc::io_error, "{}: statvfs: {}", folder, std::strerror(errno));
  }
  Room room{.free_bytes = uint64_t{there.f_bavail} * there.f_frsize, .log_bytes = 0};
  SLUICE_TRY(std::vector<std::string> names, device.list());
  for (const std::string& name : names) {
    if (!store::segment_number(name)) {
      continue;
    }
    std::error_code problem;
    const uint64_t bytes = std::filesystem::file_size(device.path_of(name), problem);
    if (problem) {
      return SLUICE_ERR(
          Errc::io_error, "{}: its size: {}", device.path_of(name), problem.message());
    }
    room.log_bytes += bytes;
    room.segments.push_back(bytes);
  }
  return room;
}

void log_recovery(const store::RecoveryReport& report,
                  const std::string& folder,
                  bool is_direct,
                  double seconds,
                  spdlog::logger& log) {
  for (const std::string& line : report.lines) {
    log.warn("event=recovery reason={}", log_value(line));
  }
  log.info(
      "event=recovered disk={} direct_io={} pages={} bytes={} segments={} scanned={} "
      "dropped_tails={} "
      "damaged={} seconds={:.2f}",
      log_value(folder),
      is_direct,
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
  if (log_bytes != 0) {
    // A file system that others filled meanwhile is no reason to serve nothing.
    return std::max(std::min(chosen, room), kDiskBytesMin);
  }
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

uint64_t choose_segment_bytes(uint64_t capacity_bytes) {
  const uint64_t bytes =
      std::clamp(capacity_bytes / kSegmentsMax, kSegmentBytesMin, kSegmentBytesMax);
  return std::min(bytes, capacity_bytes / kSegmentsMin) / store::kBlockBytes * store::kBlockBytes;
}

uint64_t segments_at_once(std::span<const uint64_t> there_bytes,
                          uint64_t capacity_bytes,
                          uint64_t segment_bytes) {
  uint64_t out = 1;  // the one that is written
  uint64_t used_bytes = 0;
  for (const uint64_t bytes : there_bytes) {
    out += std::max<uint64_t>(1, bytes / segment_bytes);
    used_bytes += bytes;
  }
  return out + (capacity_bytes - std::min(capacity_bytes, used_bytes)) / segment_bytes;
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
  if (config.capacity_bytes < options.capacity_bytes) {
    log.warn(
        "event=disk reason={}",
        log_value(fmt::format("{}: disk.capacity is {}, but the file system has {} for it until "
                              "it is started again with more room",
                              options.folder,
                              format_bytes(options.capacity_bytes),
                              format_bytes(config.capacity_bytes))));
  }
  config.segment_bytes = choose_segment_bytes(config.capacity_bytes);
  SLUICE_CHECK(options.files.check(
      segments_at_once(room.segments, config.capacity_bytes, config.segment_bytes)));
  config.queue_bytes_max = std::clamp(options.ram_bytes / 4, kQueueBytesMin, kQueueBytesMax);
  config.log_line = [&log](std::string_view line) {
    log.warn("event=disk reason={}", log_value(line));
  };
  const uint64_t start_ns = clock.now_ns();
  SLUICE_TRY(auto tier, store::DiskTier::open(config, *parts.device, *parts.threads, clock));
  log_recovery(tier->recovery(),
               options.folder,
               parts.device->is_direct(),
               static_cast<double>(clock.now_ns() - start_ns) / 1e9,
               log);
  return tier;
}

}  // namespace sluice::daemon
