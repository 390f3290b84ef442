// sluiced: reads the configuration, wires tier, cache, service and server, and runs until told to
// stop. SIGTERM and SIGINT drain: requests in flight are answered, the socket file goes, and what
// was put reaches the disk.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "src/base/clock.h"
#include "src/base/machine_memory.h"
#include "src/base/mailbox.h"
#include "src/base/standard_streams.h"
#include "src/base/units.h"
#include "src/base/version.h"
#include "src/cache/page_cache.h"
#include "src/daemon/admin_server.h"
#include "src/daemon/config.h"
#include "src/daemon/disk.h"
#include "src/daemon/log_value.h"
#include "src/daemon/open_files.h"
#include "src/daemon/profile_folder.h"
#include "src/daemon/service.h"
#include "transport/socket_path.h"
#include "transport/stream_server.h"

namespace sluice::daemon {
namespace {

struct Flags {
  std::string config;
  std::string socket;
  std::vector<std::string> listen;
  std::string ram;
  std::string disk;
  std::string disk_capacity;
  std::string admin;
  std::string log_level;
  bool check_only = false;
};

transport::StreamServer* draining_server =
    nullptr;  // of the signal handler; set before it is armed

constexpr uint32_t kTickMs = 500;

std::atomic<bool> draining = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler sets it

void on_signal(int) {
  draining = true;
  draining_server->request_drain();
}

Result<Config> read_config(const Flags& flags) {
  Config config;
  if (!flags.config.empty()) {
    SLUICE_TRY(config, load_config(flags.config));
  }
  if (!flags.socket.empty()) {
    config.socket = flags.socket;
  }
  if (!flags.listen.empty()) {
    config.addresses = flags.listen;
  }
  if (!flags.ram.empty()) {
    SLUICE_TRY(config.ram_bytes, parse_bytes(flags.ram));
  }
  if (!flags.disk.empty()) {
    config.disk_path = flags.disk;
  }
  if (!flags.disk_capacity.empty()) {
    SLUICE_TRY(config.disk_bytes, parse_bytes(flags.disk_capacity));
  }
  if (!flags.admin.empty()) {
    config.admin_address = flags.admin;
  }
  if (!flags.log_level.empty()) {
    config.log_level = flags.log_level;
  }
  SLUICE_CHECK(config.validate());
  return config;
}

// The default socket's folder is made where it is missing: /run is empty after each boot.
Result<std::string> choose_socket(const Config& config) {
  if (!config.socket.empty()) {
    return config.socket;
  }
  std::string user = transport::user_socket();
  if (!user.empty()) {
    return user;
  }
  const std::filesystem::path path = transport::kServiceSocket;
  std::error_code problem;
  std::filesystem::create_directories(path.parent_path(), problem);
  if (problem) {
    return SLUICE_ERR(Errc::io_error,
                      "cannot make {}: {}; name another place with --socket",
                      path.parent_path().string(),
                      problem.message());
  }
  return path.string();
}

// The admin pages, or nothing where they are off.
Result<std::unique_ptr<AdminServer>> open_admin(const Config& config,
                                                transport::StreamServer& server,
                                                const Service& service) {
  if (config.admin_address.empty()) {
    return std::unique_ptr<AdminServer>();
  }
  return AdminServer::open(
      {.address = config.admin_address},
      [&server](std::function<void()> work) { server.post(std::move(work)); },
      [&service] {
        return AdminSnapshot{.ready = !draining, .metrics = metric_families(service.stats())};
      });
}

Status serve_until_stopped(const Config& config,
                           Service& service,
                           cache::PageCache& cache,
                           Mailbox& mailbox,
                           const Clock& clock,
                           spdlog::logger& log) {
  transport::StreamServerConfig server_config;
  SLUICE_TRY(std::string socket, choose_socket(config));
  server_config.addresses = {std::move(socket)};
  server_config.addresses.insert(
      server_config.addresses.end(), config.addresses.begin(), config.addresses.end());
  server_config.connections_max = static_cast<uint32_t>(config.connections_max);
  server_config.drain_ms_max = static_cast<uint32_t>(config.drain_ms);
  SLUICE_TRY(auto server, transport::StreamServer::open(server_config, service, clock));
  SLUICE_TRY(auto admin, open_admin(config, *server, service));
  server->every(kTickMs, [&cache] { cache.tick(); });
  mailbox.set_wake([&server, &mailbox] { server->post([&mailbox] { mailbox.run_all(); }); });
  draining_server = server.get();
  std::signal(SIGTERM, on_signal);
  std::signal(SIGINT, on_signal);
  log.info("event=ready version={} listen={} admin={} ram={} disk={}",
           kVersion,
           log_value(fmt::format("{}", fmt::join(server->addresses(), " "))),
           admin == nullptr ? "off" : admin->address(),
           log_value(format_bytes(config.ram_bytes)),
           config.disk_path.empty() ? "off" : log_value(config.disk_path));
  Status ran = server->run();
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  mailbox.set_wake({});
  return ran;
}

Status serve(const Config& config, spdlog::logger& log) {
  SteadyClock clock;
  Mailbox mailbox;
  DiskParts parts;
  cache::PageCacheConfig cache_config;
  cache_config.ram.capacity_bytes = config.ram_bytes / 64 * 64;  // whole extents (store/arena.h)
  const OpenFiles files{.limit = raise_open_files(), .connections = config.connections_max};
  SLUICE_CHECK(files.check(0));
  if (!config.disk_path.empty()) {
    const auto post = [&mailbox](std::function<void()> work) { mailbox.post(std::move(work)); };
    SLUICE_TRY(cache_config.disk,
               open_disk({.folder = config.disk_path,
                          .capacity_bytes = config.disk_bytes.value_or(0),
                          .ram_bytes = config.ram_bytes,
                          .files = files},
                         post,
                         clock,
                         log,
                         parts));
    cache_config.profiles = keep_profiles_in(config.disk_path, *parts.threads);
  }
  SLUICE_TRY(auto cache, cache::PageCache::open(std::move(cache_config)));
  if (!config.disk_path.empty()) {
    read_profiles(config.disk_path, cache->profiles(), log);
  }
  Service service(*cache, log, config.token_sha256);
  SLUICE_CHECK(serve_until_stopped(config, service, *cache, mailbox, clock, log));
  bool drained = false;
  cache->drain([&drained] { drained = true; });
  if (!mailbox.run_until([&drained] { return drained; }, config.drain_ms)) {
    log.warn("event=drain_incomplete reason=\"the disk did not take what was put within {} ms\"",
             config.drain_ms);
  }
  log.info("event=stopped");
  return {};
}

// Not an error: the disk may be another one when the daemon starts.
void warn_of_disk(const Config& config) {
  if (config.disk_path.empty()) {
    return;
  }
  const std::string warning = check_disk_room(config.disk_path, config.disk_bytes.value_or(0));
  if (!warning.empty()) {
    std::fprintf(stderr, "sluiced: warning: %s\n", warning.c_str());
  }
}

int run(const Flags& flags) {
  Result<Config> config = read_config(flags);
  if (config.has_error()) {
    std::fprintf(stderr, "sluiced: %s\n", config.error().text.c_str());
    return 2;
  }
  const std::string warning = memory_warning(config->ram_bytes, machine_memory().usable_bytes());
  if (flags.check_only) {
    if (!warning.empty()) {
      std::fprintf(stderr, "sluiced: warning: %s\n", warning.c_str());
    }
    warn_of_disk(*config);
    std::puts("configuration is valid");
    return 0;
  }
  auto log = spdlog::stderr_logger_st("sluiced");
  log->set_pattern("time=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc);
  log->set_level(spdlog::level::from_str(config->log_level));
  if (!warning.empty()) {
    log->warn("event=memory reason={}", log_value(warning));
  }
  Status served = serve(*config, *log);
  if (served.has_error()) {
    log->error("event=failed error={}", log_value(served.error().to_string()));
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace sluice::daemon

int main(int argc, char** argv) {
  sluice::keep_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);  // whoever read the log may go
  sluice::daemon::Flags flags;
  CLI::App app("sluiced: the Sluice daemon, KV cache pages over unix sockets and TCP", "sluiced");
  app.set_version_flag("--version", sluice::kVersion);
  app.add_option("--config", flags.config, "TOML file; flags override it");
  app.add_option("--socket", flags.socket, "unix socket path");
  app.add_option(
         "--listen", flags.listen, "beside the socket, e.g. tcp://127.0.0.1:7440; repeatable")
      ->allow_extra_args(false);
  app.add_option("--ram", flags.ram, "capacity of the RAM tier, e.g. 1GiB");
  app.add_option("--disk", flags.disk, "folder of the disk tier; none: RAM only");
  app.add_option("--disk-capacity", flags.disk_capacity, "of the disk tier, e.g. 64GiB");
  app.add_option("--admin", flags.admin, "IP:PORT of the admin pages, e.g. 127.0.0.1:9464");
  app.add_option("--log-level", flags.log_level, "trace, debug, info, warn or error");
  app.add_flag("--check-config", flags.check_only, "check the configuration and exit");
  for (CLI::Option* option : app.get_options()) {
    option->check([](const std::string& text) {  // a variable that is not set names no folder
      return text.empty() ? "a value is expected, not an empty one" : std::string();
    });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? 0 : 2;
  }
  return sluice::daemon::run(flags);
}
