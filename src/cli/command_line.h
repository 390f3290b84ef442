// The command line of `sluice`: which commands there are, and their options.
#pragma once

namespace sluice::cli {

// Parses, runs one command, prints; returns the exit code.
int run_command_line(int argc, char** argv);

}  // namespace sluice::cli
