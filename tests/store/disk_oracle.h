// What a disk tier has to show: every version that was ever put under a key, what was acked as
// durable, what was erased, and the rules that follow from it.
//
// For each key:
// - What shows is a version that was put, whole or cut where it was asked to be cut.
// - It is no older than the last put that was acked as durable, and newer than the last erase that
//   was acked, or issued by the process that lives.
// - Nothing shows only if nothing durable was acked since the last erase was issued, or if the log
//   dropped its segment: then nothing older shows under any key.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "store/disk_tier.h"
#include "tests/store/sample_record.h"

namespace sluice::store {

struct Version {
  uint64_t ticket = 0;
  std::shared_ptr<Sample> sample;
  std::set<uint64_t> cuts_issued;       // lengths
  std::optional<uint64_t> cut_durable;  // the shortest that was acked
};

class DiskOracle {
 public:
  using Id = std::pair<uint32_t, Key>;

  // Issues a put or an erase; the ticket says its place in the order.
  uint64_t put(const Id& id, std::shared_ptr<Sample> sample);
  uint64_t erase(const Id& id);
  void cut(const Id& id, uint64_t ticket, uint64_t bytes);

  // An ack came.
  void put_is_durable(const Id& id, uint64_t ticket);
  void erase_is_durable(const Id& id, uint64_t ticket);
  void cut_is_durable(const Id& id, uint64_t ticket, uint64_t bytes);

  // The process ended; the next one shows what it found, and that is durable.
  void restart() { process_starts_at_ = next_ticket_; }

  void shown_after_restart(const Id& id, const std::optional<DiskEntry>& entry);

  // What is wrong with what shows of a key; nothing if all is well.
  std::optional<std::string> check(const Id& id, const std::optional<DiskEntry>& entry) const;

  // The same of bytes that were read.
  std::optional<std::string> check_bytes(const Id& id, const DiskPage& page) const;

  // What is wrong about the pages that are missing, given all that shows.
  std::optional<std::string> check_missing(
      const std::map<Id, std::optional<DiskEntry>>& shown) const;

  // The version that an entry is, or null.
  const Version* version_of(const Id& id, const EncodingId& encoding_id) const;

  bool may_evict = false;  // the capacity is small

 private:
  struct History {
    std::vector<Version> versions;
    uint64_t durable_put = 0;    // ticket of the last one acked; 0: none
    uint64_t durable_erase = 0;  // the same
    uint64_t issued_erase = 0;
  };

  const History* history(const Id& id) const;

  std::map<Id, History> histories_;
  uint64_t next_ticket_ = 1;
  uint64_t process_starts_at_ = 1;
};

}  // namespace sluice::store
