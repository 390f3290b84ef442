// Opens a log: which segments there are, what in them counts (FORMAT.md, Recovery).
//
// Leaves every segment either sealed or, where the device refuses, as it was; what it puts into the
// index is durable or marked as not. Blocks; one thread, before the tier serves anybody.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "store/block_device.h"
#include "store/disk_index.h"
#include "store/log_format.h"
#include "store/log_writer.h"

namespace sluice::store {

inline constexpr size_t kRecoveryLinesMax = 1000;

// A space's descriptor as it was found in the log.
struct RecoveredDescriptor {
  uint32_t tenant = 0;
  Key space_id{};
  Bytes bytes;
};

// What was found, for the daemon's log.
struct RecoveryReport {
  uint64_t segments = 0;
  uint64_t scanned_segments = 0;  // of these, read whole for want of a footer
  uint64_t log_bytes = 0;
  uint64_t records = 0;     // pages that can be read now
  uint64_t tombstones = 0;  // deleted keys met
  uint64_t cuts = 0;        // applied
  uint64_t losses = 0;      // the same
  uint64_t dropped_tails = 0;
  uint64_t damaged = 0;            // places that were passed over
  std::vector<std::string> lines;  // what was dropped and passed over and why; kRecoveryLinesMax
  std::list<RecoveredDescriptor> descriptors;  // the newest, in the order of their last records
};

struct RecoveredLog {
  std::optional<LogId> log_id;               // nothing: there is no log yet
  uint64_t next_number = 1;                  // above all that were seen
  std::map<uint64_t, uint64_t> segments;     // bytes by number
  std::optional<CurrentSegment> last_whole;  // the newest one, if it can be gone on with
};

// Fills `index` and `report`; of the descriptors only the newest `descriptors_max`, each of which
// may have 64 KiB. Errors: bad_version (a segment of a later version; the text names the command
// that discards it), bad_value (a segment of another log, a number out of range), io_error.
Result<RecoveredLog> recover_log(BlockDevice& device,
                                 uint32_t descriptors_max,
                                 DiskIndex& index,
                                 RecoveryReport& report);

}  // namespace sluice::store
