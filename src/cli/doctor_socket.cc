// The daemon's socket, this user's rights on it, and whether a daemon answers there.
#include <fmt/core.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "src/base/machine_memory.h"
#include "src/base/units.h"
#include "src/base/version.h"
#include "src/cli/doctor.h"

namespace sluice::cli {
namespace {

// Who named the socket.
std::string named_by(const DaemonOptions& options) {
  const char* variable = std::getenv("SLUICE_SOCKET");
  if (!options.socket.empty()) {
    return "named by --socket";
  }
  return variable != nullptr && *variable != '\0' ? "named by SLUICE_SOCKET" : "a default place";
}

std::string group_name(gid_t group) {
  const struct group* entry = getgrgid(group);
  return entry != nullptr ? entry->gr_name : std::to_string(group);
}

std::string user_name(uid_t user) {
  const passwd* entry = getpwuid(user);
  return entry != nullptr ? entry->pw_name : std::to_string(user);
}

Finding judge_socket(const std::string& path, const std::string& why, int error, mode_t mode) {
  Finding out{.name = "socket",
              .found = fmt::format("{} ({})", path, why),
              .expected = "a unix socket that sluiced made"};
  if (error != 0) {
    out.status = Health::fail;
    out.found += fmt::format(": {}", std::strerror(error));
    out.what_to_do = error == EACCES
                         ? "Let this user into the folders above it, or name another --socket."
                         : "Start sluiced, or name its socket with --socket or SLUICE_SOCKET.";
  } else if (!S_ISSOCK(mode)) {
    out.status = Health::fail;
    out.found += ": it is no socket";
    out.what_to_do = "Name sluiced's socket with --socket or SLUICE_SOCKET.";
  }
  return out;
}

Finding judge_rights(const std::string& path, const struct stat& info) {
  const std::string group = group_name(info.st_gid);
  Finding out{
      .name = "socket_rights",
      .found = fmt::format(
          "mode {:04o}, owner {}, group {}", info.st_mode & 07777u, user_name(info.st_uid), group),
      .expected = "mode 0660, and this user its owner or in its group"};
  if (access(path.c_str(), R_OK | W_OK) != 0) {
    out.status = Health::fail;
    // The group of whoever started it by hand, root's above all, is no group to add users to.
    out.what_to_do =
        fmt::format("{}usermod -aG sluice {}, and log in anew.",
                    group == "sluice" ? ""
                                      : "Make the group that sluiced gives its socket to (groupadd "
                                        "--system sluice), restart sluiced, ",
                    user_name(getuid()));
  } else if ((info.st_mode & S_IRWXO) != 0) {
    out.status = Health::warn;
    out.what_to_do = fmt::format(
        "Take the socket from other users (chmod 0660 {}): whoever connects reads all KV.", path);
  }
  return out;
}

std::string daemon_hint(Errc code) {
  switch (code) {
    case Errc::identity_mismatch:
    case Errc::bad_version:
      return "Install sluice and sluiced of one version.";
    case Errc::invalid_argument:
      return "Correct the address or the token, as it says.";
    case Errc::overloaded:
      return "Close connections, or raise listen.connections_max in sluice.toml.";
    case Errc::draining:
      return "It is ending: start sluiced again.";
    default:
      return "Start sluiced, or restart the one that hangs, and read its log.";
  }
}

// What the daemon's RAM tier may take; 0 where it does not say.
Result<uint64_t> ram_capacity(client::Client& client) {
  SLUICE_TRY(auto requester, client.requester());
  SLUICE_TRY(auto reply, requester->stats(client.call_options()));
  for (const auto& stat : reply.stats) {
    if (stat.name == "ram_capacity_bytes") {
      return stat.value;
    }
  }
  return 0;
}

void ask_daemon(const DaemonOptions& options, Findings& out) {
  auto client = open_client(options);
  if (client.has_error()) {
    out.push_back({.name = "daemon",
                   .status = Health::fail,
                   .found = client.error().text,
                   .expected = fmt::format("an answer within {} ms", options.deadline_ms),
                   .what_to_do = daemon_hint(client.error().code)});
    return;
  }
  out.push_back(judge_daemon_version((*client)->daemon_software()));
  const Result<uint64_t> ram_bytes = ram_capacity(**client);
  if (ram_bytes.has_value() && *ram_bytes != 0) {
    out.push_back(judge_daemon_memory(*ram_bytes, machine_memory().usable_bytes()));
  }
}

}  // namespace

Finding judge_daemon_version(const std::string& daemon) {
  Finding out{.name = "daemon",
              .found = daemon + " answers",
              .expected = fmt::format("sluiced {}, as this command", kVersion)};
  if (daemon != fmt::format("sluiced {}", kVersion)) {
    out.status = Health::warn;
    out.what_to_do = "Install sluice and sluiced of one version, and restart sluiced.";
  }
  return out;
}

Finding judge_daemon_memory(uint64_t ram_bytes, uint64_t usable_bytes) {
  Finding out{.name = "daemon_memory",
              .found = fmt::format("ram.capacity of {}", format_bytes(ram_bytes)),
              .expected = fmt::format("less than the {} that a process may use here",
                                      format_bytes(usable_bytes))};
  if (ram_bytes >= usable_bytes) {
    out.status = Health::warn;
    out.what_to_do = "Start sluiced with a smaller --ram: the kernel ends it before that is full.";
  }
  return out;
}

void check_socket(const DoctorOptions& options, Findings& out) {
  const std::string path = client::find_socket(options.daemon.socket);
  if (path.find("://") != std::string::npos) {
    // No file and no rights: what can be said is whether a daemon answers.
    out.push_back({.name = "socket",
                   .status = Health::ok,
                   .found = fmt::format("{} ({})", path, named_by(options.daemon)),
                   .expected = "an address that sluiced listens at"});
    return ask_daemon(options.daemon, out);
  }

  struct stat info {};

  const int error = ::stat(path.c_str(), &info) == 0 ? 0 : errno;
  out.push_back(judge_socket(path, named_by(options.daemon), error, info.st_mode));
  if (out.back().status == Health::fail) {
    return;
  }
  out.push_back(judge_rights(path, info));
  if (out.back().status != Health::fail) {
    ask_daemon(options.daemon, out);
  }
}

}  // namespace sluice::cli
