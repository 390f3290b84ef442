// What the process ends with (docs/cli.md, "Exit codes").
#pragma once

#include "src/base/result.h"

namespace sluice::cli {

enum class Exit : int {
  good = 0,
  negative = 1,     // a miss, damage, a fault that doctor found
  usage = 2,        // wrong options
  unreachable = 3,  // no daemon, or none that answers in time
  failed = 4,       // anything else
};

// The exit code of a command that failed with this error.
Exit exit_for(Errc code);

// Prints the sentence to standard error, or with `json` one document {error, text, exit}; returns
// the exit code.
int report_error(const Error& error, bool json);

// Ends standard output; 4 where what a command printed could not be written.
int finish_output(int code);

}  // namespace sluice::cli
