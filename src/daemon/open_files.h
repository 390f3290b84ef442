// Whether the process may open as many files as it will need: each connection and each segment of
// the log is one.
#pragma once

#include <cstdint>

#include "src/base/result.h"

namespace sluice::daemon {

// Raises the soft limit of open files to the hard one; returns it.
uint64_t raise_open_files();

struct OpenFiles {
  uint64_t limit = 0;  // of the process
  uint64_t connections = 0;

  // Whether so many segments can be open beside the connections. Errors: bad_config.
  Status check(uint64_t segments) const;
};

}  // namespace sluice::daemon
