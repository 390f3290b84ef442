// What the log says of writes that it did not take, so that nobody has to wait for one to learn of
// it.
//
// One line where that begins, at most one a second while it lasts, and one where it is over, with
// what was lost in all. Pure; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "src/base/result.h"

namespace sluice::store {

struct LostWrites {
  uint64_t pages = 0;
  uint64_t bytes = 0;  // of these
  uint64_t deletes = 0;
  uint64_t cuts = 0;

  LostWrites& operator+=(const LostWrites& more);
};

class LossLines {
 public:
  // A batch failed; `where` names file and offset. The line to log, if one is due.
  std::optional<std::string> failed(const LostWrites& lost,
                                    std::string_view where,
                                    const Error& error,
                                    uint64_t now_ns);

  // A batch was taken. The line to log, if ones before were not.
  std::optional<std::string> taken();

 private:
  bool is_failing_ = false;
  uint64_t last_line_ns_ = 0;
  Errc last_code_ = Errc::ok;
  LostWrites unsaid_;
  LostWrites sum_;  // since it began
};

}  // namespace sluice::store
