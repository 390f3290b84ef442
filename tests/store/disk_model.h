// A disk tier on a simulated device, driven by a seed and checked against the oracle at every step.
#pragma once

#include <set>

#include "src/base/clock.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/step_runner.h"
#include "tests/store/disk_oracle.h"
#include "tests/store/sample_log.h"

namespace sluice::store {

struct DiskModelConfig {
  uint64_t seed = 1;
  bool is_small = false;    // the log is full most of the time
  bool is_failing = false;  // writes and syncs fail now and then, the device fills up
  std::optional<SyncSite> left_out;
  bool trace = false;  // what happens, to stderr
};

class DiskModel {
 public:
  explicit DiskModel(const DiskModelConfig& config);

  // Does something. What was wrong is in failure(); nothing more happens then.
  void step();

  const std::string& failure() const { return failure_; }

  // What the steps reached, over all processes.
  struct Reached {
    uint64_t crashes = 0;
    uint64_t kills = 0;
    uint64_t durable_acks = 0;
    uint64_t erase_acks = 0;
    uint64_t cut_acks = 0;
    uint64_t pages_read = 0;
    uint64_t evicted = 0;
    uint64_t failed_segments = 0;
    uint64_t failed_acks = 0;
    uint64_t dropped_writes = 0;
    uint64_t tails = 0;
  };

  const Reached& reached() const { return reached_; }

 private:
  using Id = DiskOracle::Id;

  Id any_id() { return {static_cast<uint32_t>(prng_.below(2)), key_of(prng_.below(20))}; }

  void open();
  void end_process();
  void trace(std::string_view what) const;
  void fail(const std::string& what);
  void put();
  void erase();
  void cut();
  void read();
  void disturb();
  void compare();

  DiskModelConfig config_;
  Prng prng_;
  SimDevice device_;
  StepRunner runner_;
  ManualClock clock_;
  DiskOracle oracle_;
  std::unique_ptr<DiskTier> tier_;
  std::set<Id> unread_;  // the device could not: they need not be shown until a restart
  uint64_t steps_ = 0;
  uint64_t ends_at_ = 0;  // step at which the process ends
  std::string failure_;
  Reached reached_;
};

}  // namespace sluice::store
