#include "src/base/disk_room.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "src/base/units.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// What it is named as (store/FORMAT.md); what else such a name may be is the log's matter.
bool is_segment(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename();
  std::error_code ignored;
  return name.size() == 20 && name.ends_with(".seg") &&
         name.find_first_not_of("0123456789abcdef") == 16 &&
         fs::is_regular_file(entry.symlink_status(ignored));
}

Error folder_error(const std::string& folder, const std::string& why) {
  return SLUICE_ERR(Errc::io_error,
                    "the folder of the disk tier, {}: {}; mend that, or name another folder",
                    folder,
                    why);
}

}  // namespace

Result<DiskRoom> measure_disk_room(const std::string& folder) {
  std::error_code problem;
  const bool is_there = fs::exists(folder, problem);
  const fs::path made_in = fs::absolute(fs::path(folder) / "..", problem).lexically_normal();
  const std::string there = is_there ? folder : made_in.string();

  struct statvfs system {};

  if (statvfs(there.c_str(), &system) != 0) {
    return folder_error(there, std::strerror(errno));
  }
  DiskRoom room{.free_bytes = uint64_t{system.f_bavail} * system.f_frsize};
  if (!is_there) {
    return room;
  }
  for (fs::directory_iterator at(folder, problem), end; !problem && at != end;
       at.increment(problem)) {
    if (!is_segment(*at)) {
      continue;
    }
    const uint64_t bytes = at->file_size(problem);
    room.log_bytes += problem ? 0 : bytes;
    room.segments.push_back(problem ? 0 : bytes);
  }
  if (problem) {
    return folder_error(folder, problem.message());
  }
  return room;
}

std::string disk_room_shortfall(const std::string& folder,
                                uint64_t capacity_bytes,
                                const DiskRoom& room) {
  if (capacity_bytes <= room.free_bytes + room.log_bytes) {
    return {};
  }
  return fmt::format(
      "{}: disk.capacity is {}, but the file system has {} for it: {} free and {} in the log; set "
      "it lower, or make room and start sluiced again",
      folder,
      format_bytes(capacity_bytes),
      format_bytes(room.free_bytes + room.log_bytes),
      format_bytes(room.free_bytes),
      format_bytes(room.log_bytes));
}

}  // namespace sluice
