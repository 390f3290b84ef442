#include "src/cli/command_line.h"

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "src/base/units.h"
#include "src/base/version.h"
#include "src/cli/commands.h"
#include "src/cli/doctor.h"
#include "src/cli/exit_code.h"

namespace sluice::cli {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 good, 1 the answer is no (a miss, damage, a fault that doctor found),\n"
    "2 wrong usage, 3 no daemon that answers, 4 any other failure.\n"
    "Errors are one sentence on standard error; with --json one document {error, text, exit}.";

constexpr const char* kDurable = "wait until no crash can lose the pages";

// All that the options of the one command that runs fill in.
struct CommandLine {
  OutputOptions output;
  DaemonOptions daemon;
  SequenceOptions sequence;
  DoctorOptions doctor;
  SlotOptions slot;
  std::vector<std::string> names;  // page files or keys
  std::string file;
  std::string folder;
  PutOptions put;
  bool dry_run = false;
  std::function<Result<int>()> run;
};

void add_daemon_options(CLI::App& command, DaemonOptions& options) {
  command.add_option("--socket", options.socket, "the daemon's unix socket, or tcp://IP:PORT");
  command.add_option("--token-file", options.token_file, "file of the token for tcp://IP:PORT");
  command.add_option("--deadline-ms", options.deadline_ms, "longest wait for one request")
      ->check(CLI::Range(1, 600'000))
      ->capture_default_str();
}

void add_context_options(CLI::App& command, SequenceOptions& options) {
  add_daemon_options(command, options.daemon);
  command.add_option("--model", options.model, "GGUF file of the model");
  command.add_option("--kv-type", options.kv_type, "KV cache type of the context")
      ->check(CLI::IsMember({"f16", "bf16", "f32"}))
      ->capture_default_str();
  command.add_option("--n-ctx", options.n_ctx, "context size, for models with longrope");
  command.add_option("--page-tokens", options.page_tokens, "tokens of one page")
      ->check(CLI::Range(32, 4096))
      ->capture_default_str();
  command.add_option("--salt", options.salt, "user salt, hex");
}

void add_sequence_options(CLI::App& command, SequenceOptions& options) {
  add_context_options(command, options);
  command.add_option("--tokens", options.tokens, "file of token ids, - for standard input");
}

void add_space_options(CLI::App& command, SequenceOptions& options) {
  add_sequence_options(command, options);
  command.add_option(
      "--descriptor", options.descriptor, "descriptor file of the space, in place of --model");
}

void add_profile_option(CLI::App& command, QualityOptions& options) {
  command.add_option("--profile", options.profiles, "file of sluice_kv.calibrate; may be repeated")
      ->allow_extra_args(false);
}

// How good pages have to be, or are made.
void add_quality_options(CLI::App& command, QualityOptions& options) {
  CLI::Option* kl =
      command.add_option("--max-kl", options.max_kl, "worst quality, micro-nats of next-token KL");
  command.add_option("--level", options.level, "the same by name, as --profile says what it costs")
      ->check(CLI::IsMember({"q3", "q2", "q1", "exact"}))
      ->excludes(kl);
  add_profile_option(command, options);
}

// Called behind add_quality_options.
void add_budget_option(CLI::App& command, QualityOptions& options) {
  command
      .add_option_function<std::string>(
          "--bytes",
          [&options](const std::string& text) {
            const Result<uint64_t> bytes = parse_bytes(text);
            if (bytes.has_error()) {
              throw CLI::ValidationError("--bytes", bytes.error().text);
            }
            options.bytes = *bytes;
          },
          "the finest quality at which all pages fit, e.g. 64MiB; else as many as fit")
      ->excludes("--max-kl")
      ->excludes("--level");
}

CLI::App& add(CLI::App& app,
              CommandLine& line,
              const char* name,
              const char* text,
              std::function<Result<int>()> run) {
  CLI::App* command = app.add_subcommand(name, text);
  command->callback([&line, run = std::move(run)] { line.run = run; });
  return *command;
}

void add_daemon_commands(CLI::App& app, CommandLine& line) {
  add_daemon_options(add(app,
                         line,
                         "ping",
                         "is a daemon there, and how fast",
                         [&line] { return ping(line.daemon, line.output); }),
                     line.daemon);
  add_daemon_options(add(app,
                         line,
                         "stat",
                         "the daemon's counters",
                         [&line] { return stat(line.daemon, line.output); }),
                     line.daemon);
  add(app,
      line,
      "token",
      "makes a token file, and prints what the daemon keeps of it",
      [&line] { return token(line.file, line.output); })
      .add_option("file", line.file, "made where it is missing")
      ->required();
  CLI::App& doctor_command =
      add(app, line, "doctor", "what of this machine to repair or improve", [&line] {
        return doctor(line.doctor, line.output);
      });
  add_daemon_options(doctor_command, line.doctor.daemon);
  doctor_command.add_option("--disk", line.doctor.disk, "folder of a disk tier to look at")
      ->check([](const std::string& text) {  // of a variable that is not set
        return text.empty() ? "a folder is expected, not an empty name" : std::string();
      });
  doctor_command
      .add_option_function<std::string>(
          "--disk-capacity",
          [&line](const std::string& text) {
            const Result<uint64_t> bytes = parse_bytes(text);
            if (bytes.has_error()) {
              throw CLI::ValidationError("--disk-capacity", bytes.error().text);
            }
            line.doctor.disk_capacity_bytes = *bytes;
          },
          "what disk.capacity is or will be, e.g. 64GiB: is there room for it")
      ->needs("--disk");
}

void add_sequence_commands(CLI::App& app, CommandLine& line) {
  CLI::App& lookup_command =
      add(app, line, "lookup", "how many tokens of a sequence are there", [&line] {
        return lookup(line.sequence, line.output);
      });
  add_sequence_options(lookup_command, line.sequence);
  add_quality_options(lookup_command, line.sequence.quality);
  add_sequence_options(add(app,
                           line,
                           "explain-miss",
                           "what of a sequence is there, and why no more",
                           [&line] { return explain_miss(line.sequence, line.output); }),
                       line.sequence);
}

void add_page_commands(CLI::App& app, CommandLine& line) {
  constexpr const char* kFiles = "page files or folders of them; none: the pages in the daemon";
  CLI::App& inspect_command = add(app, line, "inspect", "headers of pages", [&line] {
    return inspect(line.sequence, line.names, line.folder, line.output);
  });
  add_space_options(inspect_command, line.sequence);
  inspect_command.add_option("files", line.names, kFiles);
  inspect_command.add_option("--save", line.folder, "folder to write the pages to");
  CLI::App& verify_command = add(app, line, "verify", "check and decode pages", [&line] {
    return verify(line.sequence, line.names, line.output);
  });
  add_space_options(verify_command, line.sequence);
  verify_command.add_option("files", line.names, kFiles);
}

void add_profile_command(CLI::App& app, CommandLine& line) {
  CLI::App& command =
      add(app, line, "profile", "what a profile was measured on, and its levels", [&line] {
        return profile(line.names, line.output);
      });
  command.add_option("files", line.names, "files of sluice_kv.calibrate")->required();
}

void add_copy_commands(CLI::App& app, CommandLine& line) {
  constexpr const char* kKeys = "page keys, hex, in the space of --descriptor";
  CLI::App& get_command = add(app, line, "get", "save pages as KEY.page files", [&line] {
    return get(line.sequence, line.names, line.folder, line.output);
  });
  add_space_options(get_command, line.sequence);
  get_command.add_option("keys", line.names, kKeys);
  get_command.add_option("--out", line.folder, "folder to save in")->required();
  add_quality_options(get_command, line.sequence.quality);
  add_budget_option(get_command, line.sequence.quality);
  CLI::App& put_command = add(app, line, "put", "put page files back, checked first", [&line] {
    return put(line.sequence, line.put, line.output);
  });
  add_space_options(put_command, line.sequence);
  put_command.add_option("files", line.put.files, "page files or folders of them")->required();
  add_profile_option(put_command, line.sequence.quality);
  put_command.add_option("--anchor",
                         line.put.anchor,
                         "key of the page that they are evicted with; default: the page "
                         "before it in the sequence, none without a sequence");
  put_command.add_flag("--durable", line.put.durable, kDurable);
  CLI::App& rm_command = add(app, line, "rm", "remove pages from the daemon", [&line] {
    return remove_pages(line.sequence, line.names, line.dry_run, line.output);
  });
  add_space_options(rm_command, line.sequence);
  rm_command.add_option("keys", line.names, kKeys);
  rm_command.add_flag("--dry-run", line.dry_run, "say how many are there and leave them");
}

// A line that cannot be parsed fills in no option, --json among them.
int report_usage(const CLI::App& app, const CLI::ParseError& problem, std::span<char*> arguments) {
  const bool json = std::any_of(arguments.begin(), arguments.end(), [](const char* argument) {
    return std::string_view(argument) == "--json";
  });
  if (json && problem.get_exit_code() != 0) {  // 0: --help and --version
    return report_error(SLUICE_ERR(Errc::invalid_argument, "{}", problem.what()), json);
  }
  return app.exit(problem) == 0 ? 0 : static_cast<int>(Exit::usage);
}

void add_llama_commands(CLI::App& app, CommandLine& line) {
  CLI::App* llama = app.add_subcommand("llama", "slot files of llama.cpp's server as pages");
  llama->require_subcommand(1);
  CLI::App& put_command = add(*llama, line, "put", "store a slot file's pages", [&line] {
    return llama_put(line.sequence, line.slot, line.output);
  });
  add_context_options(put_command, line.sequence);
  put_command.add_option("slotfile", line.slot.file, "what action=save wrote")->required();
  add_quality_options(put_command, line.sequence.quality);
  put_command.add_flag(
      "--exact-row", line.sequence.quality.exact_row, "store what gives readers the exact KV too");
  put_command.add_option("--worst-kl",
                         line.sequence.quality.worst_kl,
                         "worst quality that went into the slot file, micro-nats");
  put_command.add_flag("--durable", line.slot.durable, kDurable);
  CLI::App& get_command = add(*llama, line, "get", "write a slot file of stored pages", [&line] {
    return llama_get(line.sequence, line.slot, line.output);
  });
  add_sequence_options(get_command, line.sequence);
  get_command.add_option("slotfile", line.slot.file, "what action=restore is to read")->required();
  add_quality_options(get_command, line.sequence.quality);
  add_budget_option(get_command, line.sequence.quality);
  CLI::Option* like = get_command.add_option(
      "--like", line.slot.like, "slot file of such a context; its tokens, unless --tokens");
  get_command.add_option("--flash-attn", line.slot.flash_attn, "flash attention of the context")
      ->check(CLI::IsMember({"on", "off"}))
      ->excludes(like)
      ->capture_default_str();
  get_command
      .add_option("--streams", line.slot.streams, "slots of the server, 1 where they share a cache")
      ->check(CLI::Range(1u, kLlamaStreamsMax))
      ->excludes(like)
      ->capture_default_str();
}

}  // namespace

int run_command_line(int argc, char** argv) {
  CLI::App app("sluice: asks a running sluiced, moves and checks pages, examines the machine",
               "sluice");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(kFooter);
  CommandLine line;
  app.add_flag("--json", line.output.json, "print one JSON document");
  app.add_flag("--quiet,-q", line.output.quiet, "no progress bars");
  add_daemon_commands(app, line);
  add_sequence_commands(app, line);
  add_page_commands(app, line);
  add_profile_command(app, line);
  add_copy_commands(app, line);
  add_llama_commands(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return report_usage(app, problem, {argv, static_cast<size_t>(argc)});
  }
  Result<int> done = line.run();
  return finish_output(done.has_value() ? *done : report_error(done.error(), line.output.json));
}

}  // namespace sluice::cli
