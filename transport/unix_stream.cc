#include "transport/unix_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "src/base/clock.h"
#include "transport/owned_fd.h"
#include "transport/unix_address.h"

namespace sluice::transport {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kConnectRetryNs = 1'000'000;

timespec to_timespec(uint64_t ns) {
  timespec out{};
  out.tv_sec = static_cast<time_t>(ns / kNsPerSecond);
  out.tv_nsec = static_cast<long>(ns % kNsPerSecond);
  return out;
}

class UnixStream final : public ByteStream {
 public:
  UnixStream(OwnedFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

 private:
  Result<size_t> do_send_some(std::span<const ByteSpan> pieces, uint64_t deadline_ns) override {
    std::array<iovec, 64> vectors;
    size_t count = std::min(pieces.size(), vectors.size());
    for (size_t i = 0; i < count; ++i) {
      vectors[i] = {const_cast<uint8_t*>(pieces[i].data()), pieces[i].size()};
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    return retry(POLLOUT, deadline_ns, [&] {
      return ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    });
  }

  Result<size_t> do_receive_some(MutByteSpan out, uint64_t deadline_ns) override {
    return retry(POLLIN, deadline_ns, [&] {
      return ::recv(fd_.get(), out.data(), out.size(), MSG_DONTWAIT);
    });
  }

  bool do_is_quiet() override {
    uint8_t byte = 0;
    return fd_.get() >= 0 && ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           errno == EAGAIN;
  }

  void do_close() override { fd_.reset(); }

  // Tries until something moved; waits for `events` in between.
  template <class Move>
  Result<size_t> retry(short events, uint64_t deadline_ns, Move move) {
    while (true) {
      ssize_t moved = fd_.get() < 0 ? 0 : move();
      if (moved > 0) {
        return static_cast<size_t>(moved);
      }
      int error = errno;
      if (moved == 0 || error == EPIPE || error == ECONNRESET) {
        return SLUICE_ERR(Errc::connection_lost, "{}: the daemon closed the connection", path_);
      }
      if (error == EAGAIN) {
        SLUICE_CHECK(wait(events, deadline_ns));
      } else if (error != EINTR) {
        return SLUICE_ERR(Errc::io_error, "{}", errno_text(path_, "socket", error));
      }
    }
  }

  Status wait(short events, uint64_t deadline_ns) {
    uint64_t now = SteadyClock().now_ns();
    pollfd poll_fd{.fd = fd_.get(), .events = events, .revents = 0};
    timespec left = to_timespec(deadline_ns > now ? deadline_ns - now : 0);
    int ready = ::ppoll(&poll_fd, 1, &left, nullptr);
    if (ready > 0 || (ready < 0 && errno == EINTR)) {
      return {};
    }
    if (ready < 0) {
      return SLUICE_ERR(Errc::io_error, "{}", errno_text(path_, "ppoll", errno));
    }
    return SLUICE_ERR(Errc::timed_out, "{}: the daemon did not answer in time", path_);
  }

  OwnedFd fd_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<ByteStream>> connect_unix(const std::string& path, uint64_t deadline_ns) {
  SLUICE_TRY(sockaddr_un address, unix_address(path));
  OwnedFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) {
    return SLUICE_ERR(Errc::io_error, "{}", errno_text(path, "socket", errno));
  }
  set_socket_buffers(fd.get());
  while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    int error = errno;
    if (error == ECONNREFUSED || error == ENOENT) {
      return SLUICE_ERR(Errc::connection_lost,
                        "{}; no daemon listens there: start sluiced, or check the path",
                        errno_text(path, "connect", error));
    }
    if (error != EAGAIN && error != EINTR) {
      return SLUICE_ERR(Errc::io_error, "{}", errno_text(path, "connect", error));
    }
    // A full backlog cannot be polled for.
    if (SteadyClock().now_ns() >= deadline_ns) {
      return SLUICE_ERR(Errc::timed_out, "{}: the daemon accepts no connection", path);
    }
    timespec pause = to_timespec(kConnectRetryNs);
    ::nanosleep(&pause, nullptr);
  }
  return std::unique_ptr<ByteStream>(std::make_unique<UnixStream>(std::move(fd), path));
}

}  // namespace sluice::transport
