// sluice: the operator's command.
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "src/base/version.h"
#include "src/cli/commands.h"

namespace {

int report(const sluice::Result<int>& result) {
  if (result.has_error()) {
    std::fprintf(stderr, "sluice: %s\n", result.error().text.c_str());
    return 2;
  }
  return *result;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace sluice::cli;
  CLI::App app("sluice: asks a running sluiced, and looks into pages", "sluice");
  app.set_version_flag("--version", sluice::kVersion);
  app.require_subcommand(1);
  app.fallthrough();
  bool json = false;
  DaemonOptions daemon;
  SequenceOptions sequence;
  std::vector<std::string> files;
  std::string save;
  app.add_flag("--json", json, "print one JSON document");

  CLI::App* ping_command = app.add_subcommand("ping", "is a daemon there, and how fast");
  add_options(*ping_command, daemon);
  CLI::App* stat_command = app.add_subcommand("stat", "the daemon's counters");
  add_options(*stat_command, daemon);
  CLI::App* lookup_command =
      app.add_subcommand("lookup", "how many tokens of a sequence are there");
  add_options(*lookup_command, sequence);
  CLI::App* inspect_command = app.add_subcommand("inspect", "headers of pages");
  add_options(*inspect_command, sequence);
  inspect_command->add_option("files", files, "page files; none: the sequence in the daemon");
  inspect_command->add_option("--save", save, "folder to write the sequence's pages to");
  CLI::App* verify_command = app.add_subcommand("verify", "check and decode pages");
  add_options(*verify_command, sequence);
  verify_command->add_option("files", files, "page files; none: the sequence in the daemon");
  CLI11_PARSE(app, argc, argv);

  if (*ping_command) {
    return report(ping(daemon, json));
  }
  if (*stat_command) {
    return report(stat(daemon, json));
  }
  if (*lookup_command) {
    return report(lookup(sequence, json));
  }
  if (*inspect_command) {
    return report(inspect(sequence, files, save, json));
  }
  return report(verify(sequence, files, json));
}
