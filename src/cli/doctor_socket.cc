// The daemon's socket, this user's rights on it, and whether a daemon answers there.
#include <fmt/core.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

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
    out.what_to_do = fmt::format("Add {} to group {} (usermod -aG {} {}) and log in anew.",
                                 user_name(getuid()),
                                 group,
                                 group,
                                 user_name(getuid()));
  } else if ((info.st_mode & S_IRWXO) != 0) {
    out.status = Health::warn;
    out.what_to_do = fmt::format(
        "Take the socket from other users (chmod 0660 {}): whoever connects reads all KV.", path);
  }
  return out;
}

const char* what_to_do(Errc code) {
  switch (code) {
    case Errc::identity_mismatch:
      return "Install sluice and sluiced of one version.";
    case Errc::invalid_argument:
      return "Correct the address or the token, as it says.";
    default:
      return "Start sluiced, or restart the one that hangs, and read its log.";
  }
}

Finding ask_daemon(const DaemonOptions& options) {
  auto client = open_client(options);
  if (client.has_value()) {
    return judge_daemon_version((*client)->daemon_software());
  }
  return {.name = "daemon",
          .status = Health::fail,
          .found = client.error().text,
          .expected = fmt::format("an answer within {} ms", options.deadline_ms),
          .what_to_do = what_to_do(client.error().code)};
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

void check_socket(const DoctorOptions& options, Findings& out) {
  const std::string path = client::find_socket(options.daemon.socket);
  if (path.find("://") != std::string::npos) {
    // No file and no rights: what can be said is whether a daemon answers.
    out.push_back({.name = "socket",
                   .status = Health::ok,
                   .found = fmt::format("{} ({})", path, named_by(options.daemon)),
                   .expected = "an address that sluiced listens at"});
    return out.push_back(ask_daemon(options.daemon));
  }

  struct stat info {};

  const int error = ::stat(path.c_str(), &info) == 0 ? 0 : errno;
  out.push_back(judge_socket(path, named_by(options.daemon), error, info.st_mode));
  if (out.back().status == Health::fail) {
    return;
  }
  out.push_back(judge_rights(path, info));
  if (out.back().status != Health::fail) {
    out.push_back(ask_daemon(options.daemon));
  }
}

}  // namespace sluice::cli
