#include "transport/session_socket.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace sluice::transport {
namespace {

// What one connection may move before the others get their turn.
constexpr size_t kTurnBytes = 8 << 20;
constexpr size_t kSendBytes = 4 << 20;  // one sendmsg: what the socket buffer can take
constexpr size_t kSendPieces = 64;
// What one connection may take of the only thread before the others have a turn. A request of a few
// bytes can ask for much work: 1,000 checks of a page of 128 MiB took 8 s.
constexpr uint64_t kTurnNs = 5'000'000;

enum class Moved { nothing, some, lost };

Moved moved_of(ssize_t moved) {
  if (moved >= 0) {
    return Moved::some;
  }
  return errno == EAGAIN || errno == EINTR ? Moved::nothing : Moved::lost;
}

}  // namespace

SessionSocket::SessionSocket(OwnedFd fd,
                             const SocketAddress& listener,
                             const SessionLimits& limits,
                             const Clock& clock,
                             SessionHandler& handler)
    : fd_(std::move(fd)),
      is_tcp_(listener.is_tcp()),
      clock_(clock),
      handler_(handler),
      session_(limits, clock) {
  set_socket_options(fd_.get(), listener);
}

void SessionSocket::open() {
  Peer peer;
  if (is_tcp_) {
    peer.address = SocketAddress::of_socket(fd_.get(), true).text();
  } else {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    ::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size);
    peer.pid = credentials.pid;
    peer.uid = credentials.uid;
    peer.gid = credentials.gid;
  }
  handler_.on_open(session_, peer);
}

void SessionSocket::turn() {
  const uint64_t now_ns = clock_.now_ns();
  if (now_ns >= session_.next_timer_ns()) {
    session_.on_timer();  // what timed out is not worth the work of this turn
  }
  size_t budget = kTurnBytes;
  bool moved = true;
  while (moved && budget > 0 && !session_.closed()) {
    moved = receive(budget);
    moved = answer_events(now_ns + kTurnNs) || moved;
    moved = send(budget) || moved;
    moved = moved && !unanswered_;
  }
}

bool SessionSocket::receive(size_t& budget) {
  MutByteSpan buffer = session_.receive_buffer();
  if (!readable_ || buffer.empty()) {
    return false;
  }
  ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  Moved moved = moved_of(n);
  if (moved == Moved::nothing) {
    readable_ = false;
    return false;
  }
  if (moved == Moved::lost || n == 0) {
    session_.received_end();
    return true;
  }
  session_.received(static_cast<size_t>(n));
  budget -= std::min(budget, static_cast<size_t>(n));
  return true;
}

bool SessionSocket::answer_events(uint64_t until_ns) {
  bool any = false;
  unanswered_ = false;
  while (auto event = session_.next_event()) {
    handler_.on_event(session_, *std::move(event));
    any = true;
    if (clock_.now_ns() >= until_ns) {
      unanswered_ = true;
      break;
    }
  }
  return any;
}

bool SessionSocket::send(size_t& budget) {
  if (!writable_ || !session_.has_output()) {
    return false;
  }
  std::array<ByteSpan, kSendPieces> pieces;
  std::array<iovec, kSendPieces> vectors;
  size_t count = session_.gather(pieces, kSendBytes);
  for (size_t i = 0; i < count; ++i) {
    vectors[i] = {const_cast<uint8_t*>(pieces[i].data()), pieces[i].size()};
  }
  msghdr message{};
  message.msg_iov = vectors.data();
  message.msg_iovlen = count;
  ssize_t n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  Moved moved = moved_of(n);
  if (moved == Moved::nothing) {
    writable_ = false;
    return false;
  }
  if (moved == Moved::lost) {
    session_.received_end();
    return true;
  }
  session_.sent(static_cast<size_t>(n));
  budget -= std::min(budget, static_cast<size_t>(n));
  return true;
}

void SessionSocket::finish() {
  size_t budget = kTurnBytes;
  writable_ = true;
  send(budget);
  handler_.on_close(session_, session_.error());
  fd_.reset();
}

}  // namespace sluice::transport
