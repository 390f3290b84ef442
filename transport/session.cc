// The answering half of a Session: answers into frames, time, the end.
#include "transport/session.h"

#include <algorithm>
#include <utility>

#include "transport/piece_cursor.h"

namespace sluice::transport {
namespace {

constexpr uint64_t kNsPerMs = 1'000'000;

// The request type that a reply body belongs to, by its place in ReplyBody.
constexpr std::array kReplyTypes = {MessageType::hello,
                                    MessageType::open,
                                    MessageType::lookup,
                                    MessageType::put,
                                    MessageType::damaged,
                                    MessageType::erase,
                                    MessageType::stats,
                                    MessageType::get_profile,
                                    MessageType::put_profile};
static_assert(kReplyTypes.size() == std::variant_size_v<ReplyBody>);

}  // namespace

Session::Session(const SessionLimits& limits, const Clock& clock)
    : limits_(limits),
      clock_(clock),
      opened_ns_(clock.now_ns()),
      reply_credit_bytes_(limits.reply_credit_bytes) {}

Session::~Session() = default;

Session::InFlight* Session::find(RequestId id) {
  auto it = std::find_if(
      requests_.begin(), requests_.end(), [id](const InFlight& r) { return r.info.id == id; });
  return it == requests_.end() ? nullptr : &*it;
}

FrameHeader Session::reply_header(const InFlight& request, Errc status) const {
  return {.type = request.type,
          .flags = kFlagReply,
          .request_id = request.wire_id,
          .trace_id = request.info.trace_id,
          .status = static_cast<uint32_t>(status),
          .frame_index = request.frames_sent};
}

void Session::note_output() {
  if (output_.empty()) {
    output_ns_ = clock_.now_ns();
  }
}

// The last frame of a request's answer, after which it is no longer in flight.
void Session::answer(InFlight& request, Errc status, Bytes payload) {
  FrameHeader header = reply_header(request, status);
  header.flags |= kFlagLast;
  push_message(header, std::move(payload));
  finish(request);
}

void Session::push_message(const FrameHeader& header, Bytes payload) {
  note_output();
  output_.push_message(header, std::move(payload));
}

void Session::finish(const InFlight& request) {
  request_bytes_ -= request.payload_bytes;
  requests_.erase(requests_.begin() + (&request - requests_.data()));
  close_if_drained();
}

void Session::reply(RequestId id, const ReplyBody& body) {
  InFlight* request = find(id);
  if (request == nullptr) {
    return;
  }
  SLUICE_ASSERT(kReplyTypes[body.index()] == request->type);
  if (const auto* hello = std::get_if<HelloReply>(&body)) {
    return answer_hello(*request, *hello);
  }
  auto payload = std::visit([](const auto& message) { return encode(message); }, body);
  if (payload.has_error()) {
    return refuse(id, payload.error());
  }
  decide_put(id, PutState::draining, {});
  answer(*request, Errc::ok, *std::move(payload));
}

void Session::answer_hello(InFlight& request, const HelloReply& hello) {
  HelloReply full = hello;
  full.version = kProtocolVersion;
  full.request_credit_bytes = limits_.request_credit_bytes;
  full.reply_credit_bytes = reply_credit_bytes_;
  auto payload = encode(full);
  if (payload.has_error()) {
    return refuse(request.info.id, payload.error());
  }
  hello_waits_ = false;
  hello_done_ = true;
  answer(request, Errc::ok, *std::move(payload));
}

void Session::refuse(RequestId id, const Error& error) {
  InFlight* request = find(id);
  if (request == nullptr) {
    return;
  }
  bool ends = request->type == MessageType::hello;
  decide_put(id, PutState::draining, {});
  answer(*request, error.code, encode_error(error));
  if (ends) {
    end(error);
  }
}

void Session::accept_put(RequestId id, MutByteSpan destination) {
  if (find(id) == nullptr) {
    events_.push_back(PutAbortedEvent{id});
    return;
  }
  SLUICE_ASSERT(put_.id == id && destination.size() == put_.bytes);
  decide_put(id, PutState::accepted, destination);
}

// Settles what happens to the PUT that is coming in, if it is this one and has not ended.
void Session::decide_put(RequestId id, PutState state, MutByteSpan destination) {
  if (put_.state == PutState::none || put_.id != id) {
    return;
  }
  if (put_.state == PutState::undecided) {
    input_ns_ = clock_.now_ns();
  }
  put_.state = state;
  put_.destination = destination;
}

Session::InFlight* Session::find_wanted(RequestId id, uint32_t page_index) {
  InFlight* request = find(id);
  if (request == nullptr) {
    return nullptr;
  }
  auto& wanted = request->wanted;
  auto it = std::find(wanted.begin(), wanted.end(), page_index);
  SLUICE_ASSERT(it != wanted.end());
  wanted.erase(it);
  ++request->pages_answered;
  return request;
}

void Session::send_page(RequestId id, uint32_t page_index, const PageAnswer& answer) {
  std::vector<ByteSpan> pieces = {answer.header};
  pieces.insert(pieces.end(), answer.sections.begin(), answer.sections.end());
  PageMeta meta{.page_index = page_index,
                .encoding_id = answer.encoding_id,
                .header_bytes = static_cast<uint32_t>(answer.header.size()),
                .body_bytes = total_bytes(answer.sections),
                .rows = answer.rows,
                .kl = answer.kl};
  auto payload = encode(meta);
  if (payload.has_error()) {
    return refuse_page(id, page_index, payload.error().code);
  }
  InFlight* request = find_wanted(id, page_index);
  if (request == nullptr) {
    return;
  }
  FrameHeader header = reply_header(*request, Errc::ok);
  push_message(header, *std::move(payload));
  if (request->pages_answered == request->get->pages.size()) {
    header.flags |= kFlagLast;
  }
  ++header.frame_index;
  request->frames_sent += 1 + output_.push_page(header, pieces, answer.keep_alive);
  if (header.has(kFlagLast)) {
    finish(*request);
  }
}

void Session::refuse_page(RequestId id, uint32_t page_index, Errc status) {
  SLUICE_ASSERT(status != Errc::ok);
  InFlight* request = find_wanted(id, page_index);
  if (request == nullptr) {
    return;
  }
  Bytes payload = *encode(PageMeta{.page_index = page_index, .status = status});
  if (request->pages_answered == request->get->pages.size()) {
    return answer(*request, Errc::ok, std::move(payload));
  }
  push_message(reply_header(*request, Errc::ok), std::move(payload));
  ++request->frames_sent;
}

size_t Session::gather(std::span<ByteSpan> out, size_t bytes_max) const {
  return output_.gather(out, bytes_max);
}

void Session::sent(size_t n) {
  output_.sent(n);
  output_ns_ = n > 0 ? clock_.now_ns() : output_ns_;
  close_if_drained();
}

uint64_t Session::next_timer_ns() const {
  if (closed_) {
    return UINT64_MAX;
  }
  uint64_t next = UINT64_MAX;
  for (const InFlight& request : requests_) {
    next = std::min(next, request.info.deadline_ns);
  }
  bool put_comes = put_.state == PutState::accepted || put_.state == PutState::draining;
  if (in_frame() || put_comes) {
    next = std::min(next, input_ns_ + limits_.frame_ms_max * kNsPerMs);
  }
  if (!hello_done_) {
    next = std::min(next, opened_ns_ + limits_.frame_ms_max * kNsPerMs);
  }
  if (!output_.empty()) {
    next = std::min(next, output_ns_ + limits_.stall_ms_max * kNsPerMs);
  }
  return next;
}

void Session::on_timer() {
  uint64_t now = clock_.now_ns();
  for (size_t i = requests_.size(); i-- > 0 && !closed_;) {
    if (requests_[i].info.deadline_ns <= now) {
      expire(requests_[i], now);
    }
  }
  if (next_timer_ns() > now) {
    return;
  }
  if (!output_.empty() && output_ns_ + limits_.stall_ms_max * kNsPerMs <= now) {
    return close(SLUICE_ERR(Errc::timed_out,
                            "the client took none of {} waiting bytes for {} ms",
                            output_.bytes(),
                            limits_.stall_ms_max));
  }
  close(SLUICE_ERR(Errc::timed_out,
                   "{} did not come within {} ms",
                   hello_done_ ? "the rest of a frame" : "HELLO",
                   limits_.frame_ms_max));
}

void Session::expire(InFlight& request, uint64_t now_ns) {
  RequestId id = request.info.id;
  if (put_.state == PutState::accepted && put_.id == id) {
    events_.push_back(PutAbortedEvent{id});
  }
  refuse(id,
         SLUICE_ERR(Errc::timed_out,
                    "{} was not done by its deadline, {} ms ago",
                    message_name(request.type),
                    (now_ns - request.info.deadline_ns) / kNsPerMs));
}

void Session::drain() {
  draining_ = true;
  close_if_drained();
}

void Session::close_if_drained() {
  if (!draining_ || closed_ || in_frame() || put_.state != PutState::none || !requests_.empty() ||
      !output_.empty()) {
    return;
  }
  push_message({.type = MessageType::goodbye,
                .flags = kFlagReply | kFlagLast,
                .status = static_cast<uint32_t>(Errc::draining)},
               encode_error(SLUICE_ERR(Errc::draining, "the daemon is shutting down")));
  end(std::nullopt);
}

void Session::close(const Error& error) {
  if (closed_) {
    return;
  }
  push_message({.type = MessageType::goodbye,
                .flags = kFlagReply | kFlagLast,
                .status = static_cast<uint32_t>(error.code)},
               encode_error(error));
  end(error);
}

// Nothing more is received or announced; what is queued may still be sent.
void Session::end(std::optional<Error> error) {
  closed_ = true;
  error_ = std::move(error);
  events_.clear();
  requests_.clear();
  put_ = PutInput();
}

}  // namespace sluice::transport
