// Owns a file descriptor and closes it.
#pragma once

#include <unistd.h>

#include <utility>

namespace sluice::transport {

class OwnedFd {
 public:
  OwnedFd() = default;

  explicit OwnedFd(int fd) : fd_(fd) {}

  ~OwnedFd() { reset(); }

  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  // -1: none.
  int get() const { return fd_; }

  int release() { return std::exchange(fd_, -1); }

  void reset() {
    if (int fd = release(); fd >= 0) {
      ::close(fd);
    }
  }

 private:
  int fd_ = -1;
};

}  // namespace sluice::transport
