#include "transport/listener.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

namespace sluice::transport {

Result<Listener> Listener::open(const std::string& text, const std::string& group) {
  SLUICE_TRY(SocketAddress address, SocketAddress::parse(text));
  Listener listener(std::move(address));
  SLUICE_CHECK(listener.bind_and_listen(group));
  return listener;
}

Status Listener::bind_and_listen(const std::string& group) {
  auto failed = [this](const char* what, const char* advice = "") -> Status {
    return SLUICE_ERR(Errc::io_error, "{}{}", errno_text(address_.text(), what, errno), advice);
  };
  if (!address_.is_tcp()) {
    SLUICE_TRY(file_, SocketFile::claim(address_));
  }
  fd_ = OwnedFd(::socket(address_.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd_.get() < 0) {
    return failed("socket");
  }
  if (address_.is_tcp()) {
    const int on = 1;
    // A daemon that starts anew need not wait for connections of the last one to be forgotten.
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address_.family() == AF_INET6) {
      ::setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
  }
  if (::bind(fd_.get(), address_.get(), address_.bytes()) != 0) {
    return failed("bind",
                  errno == EADDRINUSE      ? "; stop what listens there, or choose another port"
                  : errno == EADDRNOTAVAIL ? "; choose an address of this machine"
                                           : "");
  }
  if (address_.is_tcp()) {
    address_ = SocketAddress::of_socket(fd_.get(), false);
  } else {
    SLUICE_CHECK(file_.set_rights(group));
  }
  return ::listen(fd_.get(), SOMAXCONN) == 0 ? Status() : failed("listen");
}

void Listener::close() {
  fd_.reset();
  file_.remove();
}

}  // namespace sluice::transport
