#include "bench/load/daemon_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "src/client/client.h"

namespace sluice::bench {

DaemonProcess::DaemonProcess(std::string program, std::string folder, uint64_t tier_bytes)
    : program_(std::move(program)), folder_(std::move(folder)), tier_bytes_(tier_bytes) {
  run_ = (std::filesystem::temp_directory_path() / "sluice-load-XXXXXX").string();
  SLUICE_ASSERT(mkdtemp(run_.data()) != nullptr);
  std::filesystem::create_directories(folder_);
  std::filesystem::remove_all(folder_ + "/disk");
}

DaemonProcess::~DaemonProcess() {
  stop();
  std::filesystem::remove_all(run_);
  std::filesystem::remove_all(folder_ + "/disk");
}

Status DaemonProcess::start() {
  const std::string bytes = std::to_string(tier_bytes_);
  const std::string disk = folder_ + "/disk";
  const std::string path = socket();
  const std::string log = folder_ + "/sluiced.log";
  child_ = fork();
  if (child_ == 0) {
    const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(fd, STDERR_FILENO);
    execl(program_.c_str(),
          "sluiced",
          "--socket",
          path.c_str(),
          "--ram",
          bytes.c_str(),
          "--disk",
          disk.c_str(),
          "--disk-capacity",
          bytes.c_str(),
          nullptr);
    _exit(127);
  }
  for (int tries = 0; tries < 3000; ++tries) {
    auto client = *client::Client::open({.address = path});
    if (client->requester().has_value()) {
      return {};
    }
    if (waitpid(child_, nullptr, WNOHANG) == child_) {
      child_ = -1;
      break;
    }
    usleep(10'000);
  }
  return SLUICE_ERR(Errc::io_error, "{} did not come up; its log is {}", program_, log);
}

void DaemonProcess::stop() {
  if (child_ > 0) {
    kill(child_, SIGTERM);
    waitpid(child_, nullptr, 0);
    child_ = -1;
  }
}

}  // namespace sluice::bench
