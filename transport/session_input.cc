// The receiving half of a Session: bytes into frames, frames into events.
#include <algorithm>
#include <utility>

#include "transport/session.h"

namespace sluice::transport {
namespace {

constexpr size_t kScratchBytes = 64 << 10;

}  // namespace

bool Session::may_receive() const {
  if (closed_) {
    return false;
  }
  if (in_frame()) {
    return true;
  }
  if (put_.state != PutState::none) {
    return put_.state != PutState::undecided;
  }
  return !draining_ && !hello_waits_ && requests_.size() < limits_.requests_in_flight_max &&
         request_bytes_ < limits_.request_credit_bytes &&
         output_.charged_bytes() < reply_credit_bytes_;
}

MutByteSpan Session::receive_buffer() {
  if (!may_receive()) {
    return {};
  }
  if (input_ == Input::header) {
    return MutByteSpan(header_bytes_).subspan(filled_);
  }
  if (input_ == Input::message) {
    return MutByteSpan(message_).subspan(filled_);
  }
  size_t left = header_.payload_bytes - filled_;
  if (put_.state == PutState::accepted) {
    return put_.destination.subspan(static_cast<size_t>(put_.received), left);
  }
  scratch_.resize(kScratchBytes);
  return MutByteSpan(scratch_).first(std::min(left, kScratchBytes));
}

void Session::received(size_t n) {
  SLUICE_ASSERT(n <= receive_buffer().size());
  if (n == 0) {
    return;
  }
  if (!in_frame()) {
    input_ns_ = clock_.now_ns();
  }
  filled_ += n;
  switch (input_) {
    case Input::header:
      if (filled_ == kFrameHeaderBytes) {
        take_header();
      }
      return;
    case Input::message:
      if (filled_ == header_.payload_bytes) {
        take_message();
      }
      return;
    case Input::page_bytes:
      take_page_bytes(n);
      return;
  }
}

void Session::take_header() {
  filled_ = 0;
  auto header = parse_frame_header(header_bytes_);
  if (header.has_error()) {
    return close(header.error());
  }
  header_ = *header;
  if (auto status = check_order(header_); status.has_error()) {
    return close(status.error());
  }
  if (header_.has(kFlagPageBytes)) {
    input_ = Input::page_bytes;
    return;
  }
  input_ = Input::message;
  message_.resize(header_.payload_bytes);
  if (message_.empty()) {
    take_message();
  }
}

Status Session::check_order(const FrameHeader& header) const {
  if (header.has(kFlagReply)) {
    return SLUICE_ERR(Errc::protocol_error,
                      "a {} reply came to the daemon, which only takes requests",
                      message_name(header.type));
  }
  return put_.state == PutState::none ? check_first_frame(header) : check_put_frame(header);
}

Status Session::check_first_frame(const FrameHeader& header) const {
  if ((header.type == MessageType::hello) == hello_done_) {
    return SLUICE_ERR(Errc::protocol_error,
                      "{} {} HELLO; HELLO comes first and once",
                      message_name(header.type),
                      hello_done_ ? "after a" : "before");
  }
  if (!hello_done_ && header.payload_bytes > kHelloBytesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "a HELLO of {} bytes, expected at most {}",
                      header.payload_bytes,
                      kHelloBytesMax);
  }
  bool last = header.has(kFlagLast);
  if (header.has(kFlagPageBytes) || header.frame_index != 0 ||
      last != (header.type != MessageType::put)) {
    return SLUICE_ERR(Errc::protocol_error,
                      "{} request {} begins with frame {} and flags {:#x}; expected its message in "
                      "frame 0, the last unless page bytes of a PUT follow",
                      message_name(header.type),
                      header.request_id,
                      header.frame_index,
                      header.flags);
  }
  auto same = [&](const InFlight& r) { return r.wire_id == header.request_id; };
  if (std::any_of(requests_.begin(), requests_.end(), same)) {
    return SLUICE_ERR(Errc::protocol_error,
                      "{} reuses request id {}, which is not answered yet",
                      message_name(header.type),
                      header.request_id);
  }
  return {};
}

Status Session::check_put_frame(const FrameHeader& header) const {
  uint64_t left = put_.bytes - put_.received;
  bool last = header.has(kFlagLast);
  if (!header.has(kFlagPageBytes) || header.request_id != put_.wire_id ||
      header.frame_index != put_.frame_index || header.payload_bytes > left ||
      last != (header.payload_bytes == left)) {
    return SLUICE_ERR(Errc::protocol_error,
                      "PUT request {} needs frame {} of its page, {} bytes to go; got frame {} of "
                      "{} request {} with {} bytes and flags {:#x}",
                      put_.wire_id,
                      put_.frame_index,
                      left,
                      header.frame_index,
                      message_name(header.type),
                      header.request_id,
                      header.payload_bytes,
                      header.flags);
  }
  return {};
}

void Session::take_message() {
  input_ = Input::header;
  filled_ = 0;
  Bytes payload = std::exchange(message_, Bytes());
  auto status = verify_payload(header_, payload);
  if (!status.has_error()) {
    status = start_request(payload);
  }
  if (status.has_error()) {
    return close(status.error());
  }
  if (draining_) {
    refuse(requests_.back().info.id, SLUICE_ERR(Errc::draining, "the daemon is shutting down"));
  }
}

Status Session::start_request(ByteSpan payload) {
  InFlight request;
  request.info.id = next_id_++;
  request.info.trace_id = header_.trace_id;
  request.info.deadline_ns = clock_.now_ns() + header_.deadline_ms * uint64_t{1'000'000};
  request.wire_id = header_.request_id;
  request.type = header_.type;
  request.payload_bytes = header_.payload_bytes;
  request_bytes_ += request.payload_bytes;
  requests_.push_back(std::move(request));
  switch (header_.type) {
    case MessageType::hello:
      return start_hello(payload);
    case MessageType::open:
      return announce<OpenRequest>(payload);
    case MessageType::lookup:
      return announce<LookupRequest>(payload);
    case MessageType::get:
      return start_get(payload);
    case MessageType::put:
      return start_put(payload);
    case MessageType::damaged:
      return announce<DamagedRequest>(payload);
    case MessageType::erase:
      return announce<DeleteRequest>(payload);
    case MessageType::stats:
      return announce<StatsRequest>(payload);
    case MessageType::get_profile:
      return announce<GetProfileRequest>(payload);
    case MessageType::put_profile:
      return announce<PutProfileRequest>(payload);
    case MessageType::goodbye:
      break;
  }
  return SLUICE_ERR(Errc::protocol_error, "{} is no request", message_name(header_.type));
}

template <class Message>
Status Session::announce(ByteSpan payload) {
  SLUICE_TRY(Message message, parse<Message>(payload));
  events_.push_back(RequestEvent{requests_.back().info, std::move(message)});
  return {};
}

Status Session::start_hello(ByteSpan payload) {
  SLUICE_TRY(HelloRequest hello, parse<HelloRequest>(payload));
  if (hello.version_min > kProtocolVersion || hello.version_max < kProtocolVersion) {
    return SLUICE_ERR(Errc::bad_version,
                      "the client speaks protocol versions {} to {}, the daemon {}; upgrade the "
                      "older",
                      hello.version_min,
                      hello.version_max,
                      kProtocolVersion);
  }
  hello_waits_ = true;
  peer_software_ = hello.software;
  reply_credit_bytes_ = std::min(limits_.reply_credit_bytes, hello.reply_credit_bytes);
  events_.push_back(RequestEvent{requests_.back().info, std::move(hello)});
  return {};
}

Status Session::start_get(ByteSpan payload) {
  SLUICE_TRY(GetRequest get, parse<GetRequest>(payload));
  requests_.back().get = std::make_shared<const GetRequest>(std::move(get));
  return {};
}

Status Session::start_put(ByteSpan payload) {
  SLUICE_TRY(PutRequest put, parse<PutRequest>(payload));
  const InFlight& request = requests_.back();
  put_ = PutInput{.state = PutState::undecided,
                  .id = request.info.id,
                  .wire_id = request.wire_id,
                  .destination = {},
                  .bytes = put.page_bytes};
  events_.push_back(PutBeginEvent{request.info, put});
  return {};
}

void Session::take_page_bytes(size_t n) {
  put_.received += n;
  if (filled_ < header_.payload_bytes) {
    return;
  }
  input_ = Input::header;
  filled_ = 0;
  input_ns_ = clock_.now_ns();
  ++put_.frame_index;
  if (put_.received == put_.bytes) {
    if (put_.state == PutState::accepted) {
      events_.push_back(PutEndEvent{put_.id});
    }
    put_ = PutInput();
    scratch_ = Bytes();
    close_if_drained();
  }
}

void Session::received_end() {
  if (closed_) {
    return;
  }
  if (in_frame() || put_.state != PutState::none || !requests_.empty()) {
    return end(SLUICE_ERR(Errc::connection_lost,
                          "the client went away with {} requests unanswered, {} a frame",
                          requests_.size(),
                          in_frame() ? "in the middle of" : "not in"));
  }
  end(std::nullopt);
}

std::optional<Event> Session::next_event() {
  while (!events_.empty()) {
    Event event = std::move(events_.front());
    events_.pop_front();
    RequestId id = std::visit(
        [](const auto& e) {
          if constexpr (requires { e.info; }) {
            return e.info.id;
          } else {
            return e.id;
          }
        },
        event);
    // A request that timed out while its event waited needs no answer; an accepted PUT must end.
    if (find(id) != nullptr || std::holds_alternative<PutAbortedEvent>(event)) {
      return event;
    }
    if (std::holds_alternative<PutEndEvent>(event)) {
      return PutAbortedEvent{id};
    }
  }
  return want_page();
}

std::optional<Event> Session::want_page() {
  if (closed_ || output_.charged_bytes() >= reply_credit_bytes_) {
    return std::nullopt;
  }
  for (InFlight& request : requests_) {
    if (request.get && request.pages_asked < request.get->pages.size() &&
        request.wanted.size() < limits_.pages_wanted_max) {
      uint32_t index = request.pages_asked++;
      request.wanted.push_back(index);
      return GetPageEvent{request.info, request.get, index};
    }
  }
  return std::nullopt;
}

}  // namespace sluice::transport
