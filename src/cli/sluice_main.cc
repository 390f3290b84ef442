// sluice: the operator's command.
#include "src/base/standard_streams.h"
#include "src/cli/command_line.h"

int main(int argc, char** argv) {
  sluice::keep_standard_streams();
  return sluice::cli::run_command_line(argc, argv);
}
