#include "src/daemon/disk.h"

#include <algorithm>

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

void log_recovery(const store::RecoveryReport& report,
                  const std::string& folder,
                  bool is_direct,
                  double seconds,
                  spdlog::logger& log) {
  for (const std::string& line : report.lines) {
    log.warn("event=recovery disk={} reason={}", log_value(folder), log_value(line));
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

Result<uint64_t> choose_disk_capacity(const std::string& folder,
                                      uint64_t wanted_bytes,
                                      const DiskRoom& room) {
  const uint64_t room_bytes = room.free_bytes + room.log_bytes;
  const uint64_t chosen =
      wanted_bytes != 0 ? wanted_bytes : std::min(room_bytes / 2, kDefaultBytesMax);
  if (room.log_bytes != 0) {
    // A file system that others filled meanwhile is no reason to serve nothing.
    return std::max(std::min(chosen, room_bytes), kDiskBytesMin);
  }
  if (chosen > room_bytes) {
    return SLUICE_ERR(Errc::bad_config, "{}", disk_room_shortfall(folder, chosen, room));
  }
  if (chosen < kDiskBytesMin) {
    return SLUICE_ERR(Errc::bad_config,
                      "{}: the file system has {} for the disk tier, expected at least {}; make "
                      "room, or name a folder elsewhere",
                      folder,
                      format_bytes(chosen),
                      format_bytes(kDiskBytesMin));
  }
  return chosen;
}

std::string check_disk_room(const std::string& folder, uint64_t wanted_bytes) {
  const Result<DiskRoom> room = measure_disk_room(folder);
  if (room.has_error()) {
    return room.error().text;
  }
  std::string shortfall = disk_room_shortfall(folder, wanted_bytes, *room);
  const Result<uint64_t> chosen = choose_disk_capacity(folder, wanted_bytes, *room);
  return shortfall.empty() && chosen.has_error() ? chosen.error().text : shortfall;
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
  SLUICE_TRY(DiskRoom room, measure_disk_room(options.folder));
  store::DiskTierConfig config;
  SLUICE_TRY(config.capacity_bytes,
             choose_disk_capacity(options.folder, options.capacity_bytes, room));
  const std::string shortfall = disk_room_shortfall(options.folder, options.capacity_bytes, room);
  if (!shortfall.empty()) {
    log.warn("event=disk disk={} reason={}", log_value(options.folder), log_value(shortfall));
  }
  config.segment_bytes = choose_segment_bytes(config.capacity_bytes);
  SLUICE_CHECK(options.files.check(
      segments_at_once(room.segments, config.capacity_bytes, config.segment_bytes)));
  config.queue_bytes_max = std::clamp(options.ram_bytes / 4, kQueueBytesMin, kQueueBytesMax);
  config.log_line = [&log, disk = log_value(options.folder)](store::LineLevel level,
                                                             std::string_view line) {
    const bool is_routine = level == store::LineLevel::info;
    log.log(is_routine ? spdlog::level::info : spdlog::level::warn,
            "event=disk disk={} reason={}",
            disk,
            log_value(line));
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
