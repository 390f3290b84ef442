#include "transport/served_connection.h"

#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

namespace sluice::transport {

using boost::asio::posix::stream_descriptor;
using boost::system::error_code;

struct ServedConnection::Waits {
  stream_descriptor socket;  // the socket's own descriptor: release() it before that is closed
};

ServedConnection::ServedConnection(boost::asio::io_context& io,
                                   std::unique_ptr<SessionSocket> socket,
                                   Hooks hooks)
    : io_(io),
      socket_(std::move(socket)),
      hooks_(std::move(hooks)),
      waits_(new Waits{stream_descriptor(io, socket_->fd())}) {}

ServedConnection::~ServedConnection() = default;

void ServedConnection::start() {
  socket_->open();
  turn();
}

void ServedConnection::turn() {
  if (finished_) {
    return;
  }
  socket_->turn();
  if (session().closed()) {
    return finish();
  }
  wait_for_peer();
  hooks_.arm_timer(session().next_timer_ns());
}

void ServedConnection::wait_for_peer() {
  auto self = shared_from_this();
  if (socket_->waits_to_read() && !waits_read_) {
    waits_read_ = true;
    waits_->socket.async_wait(stream_descriptor::wait_read, [self](error_code) {
      self->waits_read_ = false;
      self->socket_->now_readable();
      self->turn();
    });
  }
  if (socket_->waits_to_write() && !waits_write_) {
    waits_write_ = true;
    waits_->socket.async_wait(stream_descriptor::wait_write, [self](error_code) {
      self->waits_write_ = false;
      self->socket_->now_writable();
      self->turn();
    });
  }
  if (socket_->has_more() && !posted_) {
    posted_ = true;
    boost::asio::post(io_, [self] {
      self->posted_ = false;
      self->turn();
    });
  }
}

void ServedConnection::drain() {
  session().drain();
  turn();
}

void ServedConnection::end(const Error& error) {
  session().close(error);
  turn();
}

void ServedConnection::finish() {
  finished_ = true;
  waits_->socket.release();
  socket_->finish();
  hooks_.finished();
}

}  // namespace sluice::transport
