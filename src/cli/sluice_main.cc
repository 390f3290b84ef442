// sluice: the operator's command.
#include "src/cli/command_line.h"

int main(int argc, char** argv) {
  return sluice::cli::run_command_line(argc, argv);
}
