#include "transport/socket_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "src/base/clock.h"
#include "transport/owned_fd.h"
#include "transport/socket_address.h"

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

// What says that the other end, or the way there, is gone.
bool is_gone(int error) {
  return error == EPIPE || error == ECONNRESET || error == ECONNREFUSED || error == ENOENT ||
         error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH || error == ENETDOWN;
}

Status wait_for(int fd, short events, uint64_t deadline_ns, const std::string& address) {
  const uint64_t now = SteadyClock().now_ns();
  pollfd poll_fd{.fd = fd, .events = events, .revents = 0};
  const timespec left = to_timespec(deadline_ns > now ? deadline_ns - now : 0);
  const int ready = ::ppoll(&poll_fd, 1, &left, nullptr);
  if (ready > 0 || (ready < 0 && errno == EINTR)) {
    return {};
  }
  if (ready < 0) {
    return SLUICE_ERR(Errc::io_error, "{}", errno_text(address, "ppoll", errno));
  }
  return SLUICE_ERR(Errc::timed_out, "{}: the daemon did not answer in time", address);
}

class SocketStream final : public ByteStream {
 public:
  SocketStream(OwnedFd fd, std::string address)
      : fd_(std::move(fd)), address_(std::move(address)) {}

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
      if (moved == 0) {
        return SLUICE_ERR(Errc::connection_lost, "{}: the daemon closed the connection", address_);
      }
      if (error == EAGAIN) {
        SLUICE_CHECK(wait_for(fd_.get(), events, deadline_ns, address_));
      } else if (error != EINTR) {
        return SLUICE_ERR(is_gone(error) ? Errc::connection_lost : Errc::io_error,
                          "{}",
                          errno_text(address_, "the connection ended", error));
      }
    }
  }

  OwnedFd fd_;
  std::string address_;
};

// Starts to connect, or tries again while a unix socket's backlog is full, which cannot be polled
// for. Returns the errno of a socket that will not connect, EINPROGRESS of one that may.
Result<int> start_connect(int fd, const SocketAddress& address, uint64_t deadline_ns) {
  while (::connect(fd, address.get(), address.bytes()) != 0) {
    if (errno != EAGAIN && errno != EINTR) {
      return int{errno};
    }
    if (SteadyClock().now_ns() >= deadline_ns) {
      return SLUICE_ERR(Errc::timed_out, "{}: the daemon accepts no connection", address.text());
    }
    timespec pause = to_timespec(kConnectRetryNs);
    ::nanosleep(&pause, nullptr);
  }
  return 0;
}

Result<int> finish_connect(int fd, const SocketAddress& address, uint64_t deadline_ns) {
  SLUICE_CHECK(wait_for(fd, POLLOUT, deadline_ns, address.text()));
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

}  // namespace

Result<std::unique_ptr<ByteStream>> connect_socket(const std::string& text, uint64_t deadline_ns) {
  SLUICE_TRY(SocketAddress address, SocketAddress::parse(text));
  OwnedFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) {
    return SLUICE_ERR(Errc::io_error, "{}", errno_text(text, "socket", errno));
  }
  set_socket_options(fd.get(), address);
  SLUICE_TRY(int error, start_connect(fd.get(), address, deadline_ns));
  if (error == EINPROGRESS) {
    SLUICE_TRY(error, finish_connect(fd.get(), address, deadline_ns));
  }
  if (is_gone(error)) {
    return SLUICE_ERR(Errc::connection_lost,
                      "{}; no daemon listens there: start sluiced, or check the address",
                      errno_text(text, "connect", error));
  }
  if (error != 0) {
    return SLUICE_ERR(Errc::io_error, "{}", errno_text(text, "connect", error));
  }
  return std::unique_ptr<ByteStream>(std::make_unique<SocketStream>(std::move(fd), text));
}

}  // namespace sluice::transport
