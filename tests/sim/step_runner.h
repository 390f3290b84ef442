// An IoRunner without threads: a seed decides which work runs next and whose `done` comes next,
// within the order that the lanes promise.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "src/base/prng.h"
#include "store/io_runner.h"

namespace sluice::store {

class StepRunner final : public IoRunner {
 public:
  explicit StepRunner(uint64_t seed) : prng_(seed) {}

  // Does one piece of work or one `done`; false if nothing waits.
  bool step();

  // Steps until nothing waits.
  void finish() {
    while (step()) {
    }
  }

  // Forgets all that waits, as when the process ends.
  void forget() {
    for (std::deque<Item>& lane : lanes_) {
      lane.clear();
    }
  }

 private:
  struct Item {
    std::function<void()> work;
    std::function<void()> done;
    bool has_run = false;
  };

  // What a step may take: an item of a lane, to run or to report.
  struct Choice {
    size_t lane = 0;
    size_t item = 0;
  };

  void do_run(Lane lane, std::function<void()> work, std::function<void()> done) override {
    lanes_[static_cast<size_t>(lane)].push_back({std::move(work), std::move(done)});
  }

  std::vector<Choice> choices() const;

  Prng prng_;
  std::deque<Item> lanes_[3];
};

}  // namespace sluice::store
