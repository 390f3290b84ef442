#include "tests/sim/step_runner.h"

#include <cstddef>

namespace sluice::store {

std::vector<StepRunner::Choice> StepRunner::choices() const {
  std::vector<Choice> out;
  for (size_t lane = 0; lane < 3; ++lane) {
    bool in_order = lane != static_cast<size_t>(Lane::read);
    bool work_chosen = false;
    for (size_t i = 0; i < lanes_[lane].size(); ++i) {
      bool has_run = lanes_[lane][i].has_run;
      // In order: the first that ran reports, the first that did not runs.
      bool may = !in_order || (has_run ? i == 0 : !work_chosen);
      work_chosen = work_chosen || !has_run;
      if (may) {
        out.push_back({lane, i});
      }
    }
  }
  return out;
}

bool StepRunner::step() {
  std::vector<Choice> open = choices();
  if (open.empty()) {
    return false;
  }
  Choice choice = open[prng_.below(open.size())];
  std::deque<Item>& lane = lanes_[choice.lane];
  auto item = lane.begin() + static_cast<ptrdiff_t>(choice.item);
  if (!item->has_run) {
    item->work();
    item->work = nullptr;
    item->has_run = true;
    return true;
  }
  std::function<void()> done = std::move(item->done);
  lane.erase(item);
  done();
  return true;
}

}  // namespace sluice::store
