// How much room a folder has for a log of Sluice's, and what to say where that is less than wanted.
//
// Opens and makes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace sluice {

struct DiskRoom {
  uint64_t free_bytes = 0;         // of the file system, to this user
  uint64_t log_bytes = 0;          // of the segments that are there
  std::vector<uint64_t> segments;  // bytes of each
};

// Of a folder that is not there yet: of the one that it will be made in. Errors: io_error.
Result<DiskRoom> measure_disk_room(const std::string& folder);

// One sentence where a log in `folder` cannot have that capacity; "" where it can.
std::string disk_room_shortfall(const std::string& folder,
                                uint64_t capacity_bytes,
                                const DiskRoom& room);

}  // namespace sluice
