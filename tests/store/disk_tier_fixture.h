// A disk tier on a simulated device that runs step by step, and what its log lines said.
#pragma once

#include <gtest/gtest.h>

#include "store/disk_tier.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/step_runner.h"
#include "tests/store/log_fixture.h"

namespace sluice::store {
// What a `done` said, if it came.
using Answer = std::shared_ptr<std::optional<Status>>;

class DiskTierSteps : public testing::Test {
 protected:
  DiskTierSteps() {
    config.segment_bytes = 64 << 10;
    config.capacity_bytes = 256 << 10;
    open();
  }

  void open() {
    tier.reset();
    runner.forget();
    config.new_log_id = sample_log_id();
    config.log_line = [this](LineLevel level, std::string_view line) {
      lines += (level == LineLevel::warning ? "warning: " : "info: ") + std::string(line) + "\n";
    };
    auto opened = DiskTier::open(config, device, runner, clock);
    ASSERT_TRUE(opened.has_value()) << opened.error().to_string();
    tier = *std::move(opened);
  }

  DiskDone into(const Answer& answer) {
    return [answer](Status status) {
      EXPECT_FALSE(answer->has_value()) << "done came twice";
      *answer = std::move(status);
    };
  }

  Status write(const Sample& page, bool want_durable, const Answer& answer = make_answer()) {
    auto bytes = std::make_shared<Bytes>(page.bytes);
    DiskWrite write{
        .record = page.record, .bytes = *bytes, .keep_alive = bytes, .want_durable = want_durable};
    return tier->write(std::move(write), into(answer));
  }

  void put(const Sample& page) {
    Answer answer = make_answer();
    ASSERT_TRUE(write(page, true, answer).has_value());
    runner.finish();
    ASSERT_TRUE(answer->has_value() && (*answer)->has_value());
  }

  static Answer make_answer() { return std::make_shared<std::optional<Status>>(); }

  Result<DiskPage> read(const Sample& page) {
    auto out = std::make_shared<Result<DiskPage>>(DiskPage());
    Status status = tier->read(page.record.tenant, page.record.key, [out](Result<DiskPage> got) {
      *out = std::move(got);
    });
    if (status.has_error()) {
      return status.error();
    }
    runner.finish();
    return *out;
  }

  // Of key 1.
  Result<DiskPage> read_part(RecordPart part) {
    auto out = std::make_shared<Result<DiskPage>>(DiskPage());
    SLUICE_CHECK(tier->read(
        0, key_of(1), std::move(part), [out](Result<DiskPage> got) { *out = std::move(got); }));
    runner.finish();
    return *out;
  }

  static Errc code(const Status& status) {
    return status.has_error() ? status.error().code : Errc::ok;
  }

  bool finds(const Sample& page) {
    return tier->find(page.record.tenant, page.record.key).has_value();
  }

  DiskTierConfig config;
  SimDevice device{1};
  StepRunner runner{1};
  ManualClock clock;
  std::string lines;
  std::unique_ptr<DiskTier> tier;
};

}  // namespace sluice::store
