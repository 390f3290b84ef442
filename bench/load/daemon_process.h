// A sluiced of the bench's own: the program itself, in a process of its own.
#pragma once

#include <sys/types.h>

#include <string>

#include "src/base/result.h"

namespace sluice::bench {

class DaemonProcess {
 public:
  // Of `program`, with a log and a fresh disk tier in `folder`.
  DaemonProcess(std::string program, std::string folder, uint64_t tier_bytes);

  ~DaemonProcess();

  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  // Waits until it answers. Errors: io_error (it ended, or did not come up in time; names its log).
  Status start();

  // As an operator would; afterwards start() finds what is on disk.
  void stop();

  std::string socket() const { return run_ + "/s.sock"; }

 private:
  std::string program_;
  std::string folder_;
  uint64_t tier_bytes_;
  std::string run_;  // of the socket, whose path must stay short
  pid_t child_ = -1;
};

}  // namespace sluice::bench
