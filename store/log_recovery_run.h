// One recovery on its way. Private to log_recovery.cc, which says what segments there are and
// whose, and log_recovery_segment.cc, which takes each of them in.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "store/block_device.h"
#include "store/disk_index.h"
#include "store/log_format.h"
#include "store/log_recovery.h"
#include "store/log_scan.h"

namespace sluice::store {

// A segment's file before it is read.
struct Candidate {
  uint64_t number = 0;
  std::shared_ptr<BlockFile> file;
  uint64_t bytes = 0;
  std::optional<SegmentHeader> header;
  std::optional<Error> header_error;
  uint64_t durable_sequence = 0;  // up to here the next segment's header proves it durable
};

// Records that are written again because nothing proves that they are durable.
struct Rewrite {
  uint64_t durable_sequence = 0;  // up to here it is proved
  bool has_begun = false;
  Status status;
};

class Recovery {
 public:
  Recovery(BlockDevice& device, uint32_t descriptors_max, DiskIndex& index, RecoveryReport& report)
      : device_(device), descriptors_max_(descriptors_max), index_(index), report_(report) {}

  Result<RecoveredLog> run();

 private:
  Status find_segments();
  void take_proofs();
  Status read_header(Candidate& candidate);
  static std::optional<LogId> id_without_header(const Candidate& candidate);
  Result<std::optional<LogId>> log_id() const;
  Status check_log_ids() const;
  void recover_segment(Candidate& candidate);
  bool take_footer(Candidate& candidate, const std::vector<LogEntry>& entries);
  void scan(Candidate& candidate, const Result<Trailer>& trailer, const Error& no_footer);
  ScanResult read_records(Candidate& candidate, uint64_t end, Rewrite& rewrite);
  void judge_tail(const Candidate& candidate,
                  const Result<Trailer>& trailer,
                  const Error& no_footer,
                  ScanResult& found);
  bool sync(Candidate& candidate, Status status);
  void keep_last(const Candidate& candidate, uint64_t end, const std::vector<LogEntry>& entries);
  void tell_gaps();
  bool seal(Candidate& candidate, const ScanResult& found);
  void drop_empty(const Candidate& candidate);
  void apply(const LogEntry& entry);
  bool knows_space(const LogEntry& descriptor);
  void take_descriptor(const ScannedRecord& record);
  void line(std::string text);
  void describe(const Candidate& candidate, const ScanResult& found);

  BlockDevice& device_;
  const uint32_t descriptors_max_;
  DiskIndex& index_;
  RecoveryReport& report_;
  std::vector<Candidate> candidates_;  // ascending
  LogId log_id_{};
  RecoveredLog out_;
  std::map<RecordId, std::list<RecoveredDescriptor>::iterator> described_;  // in the report
};

}  // namespace sluice::store
