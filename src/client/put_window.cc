#include "src/client/put_window.h"

#include <algorithm>
#include <utility>

#include "src/client/space.h"

namespace sluice::client {
namespace {

// Pages that share one sync of the log: more save little beside the time that their bytes take.
constexpr size_t kPagesMax = 8;
constexpr uint64_t kBytesMax = 8ull << 20;

}  // namespace

PutWindow::PutWindow(Space& space, transport::Ack ack, Done done)
    : space_(space), ack_(ack), done_(std::move(done)) {}

PutWindow::~PutWindow() {
  static_cast<void>(finish());
}

Status PutWindow::send(size_t index, const Hash32& key, const Hash32& anchor, ByteSpan page) {
  Client::Call call(space_.client_);
  while (!has_room(page.size())) {
    SLUICE_CHECK(step());
  }
  return send({.index = index,
               .request = {.ack = ack_, .key = key, .anchor = anchor, .page_bytes = page.size()},
               .page = Bytes(page.begin(), page.end())});
}

Status PutWindow::finish() {
  Client::Call call(space_.client_);
  Status first;
  while (!is_empty()) {
    Status done = step();
    if (first.has_value()) {
      first = std::move(done);
    }
  }
  return first;
}

bool PutWindow::is_empty() const {
  return under_way_.empty() && again_.empty();
}

bool PutWindow::has_room(uint64_t bytes) const {
  // RAM answers at once; what was sent behind a page that it refuses would only fill it.
  const bool may_wait = ack_ == transport::Ack::disk && again_.empty();
  return is_empty() || (may_wait && under_way_.size() < kPagesMax && bytes_ + bytes <= kBytesMax);
}

Status PutWindow::step() {
  if (!under_way_.empty()) {
    return receive_one();
  }
  Put put = std::move(again_.front());
  again_.erase(again_.begin());
  return send(std::move(put));
}

Status PutWindow::send(Put put) {
  Result<uint64_t> number = send_request(put);
  if (number.has_error()) {
    return done_(put.sent(), number.error());
  }
  put.number = *number;
  bytes_ += put.page.size();
  under_way_.push_back(std::move(put));
  return {};
}

// A connection with answers on their way is not asked whether it is usable: they look like its end.
Result<uint64_t> PutWindow::send_request(Put& put) {
  if (under_way_.empty()) {
    SLUICE_TRY(Space::Opened open, space_.opened());
    requester_ = std::move(open.requester);
    handle_ = open.handle;
  }
  put.request.handle = handle_;
  const ByteSpan page = put.page;
  return requester_->send_put(put.request, {&page, 1}, space_.client_.call_options());
}

Status PutWindow::receive_one() {
  Result<transport::PutAnswer> answer = requester_->receive_put(space_.client_.call_options());
  if (answer.has_value()) {
    return answered(take(answer->number), answer->reply);
  }
  // The connection is gone, and with it all answers that were to come.
  Status first;
  for (const Put& lost : std::exchange(under_way_, {})) {
    Status told = done_(lost.sent(), answer.error());
    if (first.has_value()) {
      first = std::move(told);
    }
  }
  bytes_ = 0;
  return first;
}

PutWindow::Put PutWindow::take(uint64_t number) {
  const auto at = std::find_if(
      under_way_.begin(), under_way_.end(), [&](const Put& put) { return put.number == number; });
  SLUICE_ASSERT(at != under_way_.end());
  Put out = std::move(*at);
  under_way_.erase(at);
  bytes_ -= out.page.size();
  return out;
}

Status PutWindow::answered(Put put, const Result<transport::PutReply>& reply) {
  if (reply.has_value()) {
    space_.client_.moved(space_.page_bytes());
    return done_(put.sent(), reply->outcome != transport::PutOutcome::unchanged);
  }
  if (reply.error().code == Errc::overloaded && !put.is_second_time) {
    put.is_second_time = true;
    again_.push_back(std::move(put));
    return {};
  }
  return done_(put.sent(), reply.error());
}

}  // namespace sluice::client
