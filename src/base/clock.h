// The seam to time: monotonic nanoseconds. Tests step a ManualClock.
#pragma once

#include <cstdint>

namespace sluice {

class Clock {
 public:
  virtual ~Clock() = default;

  // Monotonic nanoseconds since an unspecified start.
  uint64_t now_ns() const { return do_now_ns(); }

 private:
  virtual uint64_t do_now_ns() const = 0;
};

// CLOCK_MONOTONIC.
class SteadyClock final : public Clock {
  uint64_t do_now_ns() const override;
};

class ManualClock final : public Clock {
 public:
  void advance_ns(uint64_t ns) { now_ns_ += ns; }

 private:
  uint64_t do_now_ns() const override { return now_ns_; }

  uint64_t now_ns_ = 0;
};

}  // namespace sluice
