// The disk tier as a daemon runs it: a folder, threads that wait for it, and how large it may get.
//
// Not the log (store/disk_tier.h).
#pragma once

#include <spdlog/logger.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "src/base/clock.h"
#include "src/base/disk_room.h"
#include "src/base/result.h"
#include "src/daemon/open_files.h"
#include "store/disk_tier.h"
#include "store/io_threads.h"
#include "store/posix_device.h"

namespace sluice::daemon {

struct DiskOptions {
  std::string folder;
  uint64_t capacity_bytes = 0;  // 0: half of what the file system has for it, at most 64 GiB
  uint64_t ram_bytes = 0;       // of the RAM tier: what waits to be written is held there
  OpenFiles files;
};

// What a tier stands on; must outlive it.
struct DiskParts {
  std::unique_ptr<store::PosixDevice> device;
  std::unique_ptr<store::IoThreads> threads;
};

// Opens folder and log, and logs what recovery found. What `post` refers to and `clock` must
// outlive the parts, `log` the tier. Errors: bad_config (the file system has less room than the
// capacity; another daemon has the folder; too few files may be open), as DiskTier::open.
Result<std::unique_ptr<store::DiskTier>> open_disk(const DiskOptions& options,
                                                   const store::IoThreads::Post& post,
                                                   const Clock& clock,
                                                   spdlog::logger& log,
                                                   DiskParts& parts);

// How large a log in `folder` may get; `wanted_bytes`: 0 for the default. Where there is one it is
// never refused: it gets the room that there is, and at least kDiskBytesMin. Errors: bad_config.
Result<uint64_t> choose_disk_capacity(const std::string& folder,
                                      uint64_t wanted_bytes,
                                      const DiskRoom& room);

// What a start would say about the room of its folder, as a warning or a refusal; "" for nothing.
std::string check_disk_room(const std::string& folder, uint64_t wanted_bytes);

// How long the segments of a log of such a size are.
uint64_t choose_segment_bytes(uint64_t capacity_bytes);

// As many segments as a log can have at once that begins with those of `there_bytes`: each of them
// stays, or gives way to new ones of its size.
uint64_t segments_at_once(std::span<const uint64_t> there_bytes,
                          uint64_t capacity_bytes,
                          uint64_t segment_bytes);

}  // namespace sluice::daemon
