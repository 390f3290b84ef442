// The daemon's side of one connection without I/O: bytes in, requests out; answers in, bytes out
// (PROTOCOL.md, "Connection").
//
// Not sockets (session_socket.h), not what requests mean (src/daemon answers them). One thread, no
// exceptions, deterministic: the same bytes, answers and clock give the same output.
//
// The driver's loop:
//   receive into receive_buffer(), received(n); next_event() until empty, answering each event now
//   or later; gather() -> one writev -> sent(n); on_timer() when next_timer_ns() is reached;
//   close the socket when closed(), after one last try to write what gather() still has.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/clock.h"
#include "src/base/result.h"
#include "transport/frame.h"
#include "transport/messages.h"
#include "transport/output_queue.h"

namespace sluice::transport {

struct SessionLimits {
  uint32_t requests_in_flight_max = 64;
  uint64_t request_credit_bytes = 4ull << 20;  // payload of unanswered requests, granted at HELLO
  uint64_t reply_credit_bytes = 8ull << 20;    // queued output beyond which nothing more is read
  uint32_t pages_wanted_max = 8;               // GetPage events of one GET that may be unanswered
  uint32_t frame_ms_max =
      10'000;  // from a frame's first byte to its last; and until HELLO is there
  uint32_t stall_ms_max = 30'000;  // queued output of which the peer takes nothing
};

// Names one request of this session. It is the session's own number, never reused, so an answer
// that comes after its request timed out cannot reach another request.
using RequestId = uint64_t;

struct RequestInfo {
  RequestId id = 0;
  TraceId trace_id{};
  uint64_t deadline_ns = 0;  // on the session's clock
};

// Answer with reply() or refuse().
struct RequestEvent {
  RequestInfo info;
  std::variant<HelloRequest,
               OpenRequest,
               LookupRequest,
               DamagedRequest,
               DeleteRequest,
               StatsRequest,
               GetProfileRequest,
               PutProfileRequest>
      body;
};

// One page of a GET is wanted: answer with send_page(), or end the whole GET with refuse().
// Pages are asked for as the peer takes the ones before, so their bytes need not wait in memory.
struct GetPageEvent {
  RequestInfo info;
  std::shared_ptr<const GetRequest> get;
  uint32_t page_index = 0;

  const GetPageRequest& page() const { return get->pages[page_index]; }
};

// A page is about to come: accept_put(), or refuse() or reply(PutReply) to have it drained.
struct PutBeginEvent {
  RequestInfo info;
  PutRequest put;
};

// All bytes of an accepted PUT are in its destination: answer with reply(PutReply) or refuse().
struct PutEndEvent {
  RequestId id = 0;
};

// An accepted PUT timed out half-way. It is answered already; its destination is no longer written.
struct PutAbortedEvent {
  RequestId id = 0;
};

using Event = std::variant<RequestEvent, GetPageEvent, PutBeginEvent, PutEndEvent, PutAbortedEvent>;
using ReplyBody = std::variant<HelloReply,
                               OpenReply,
                               LookupReply,
                               PutReply,
                               DamagedReply,
                               DeleteReply,
                               StatsReply,
                               GetProfileReply,
                               PutProfileReply>;

// The bytes of one page that a GET is answered with.
struct PageAnswer {
  EncodingBytes encoding_id{};
  uint32_t rows = 0;
  uint32_t kl = 0;
  ByteSpan header{};                     // the page header, whole
  std::span<const ByteSpan> sections{};  // the section ranges, in page order
  std::shared_ptr<const void>
      keep_alive{};  // keeps header and sections readable until they are sent
};

class Session {
 public:
  // `clock` must outlive the session.
  Session(const SessionLimits& limits, const Clock& clock);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // ---- Input.

  // Where the next received bytes go: at most receive_buffer().size() of them, then received(n).
  // Empty while nothing may be received: too much is unanswered or unsent, a PUT or HELLO waits for
  // its answer, or the session is closed. Never empty in the middle of a frame.
  // Memory: valid until the next call on this session; an accepted PUT's destination itself.
  MutByteSpan receive_buffer();

  // n bytes were written to the front of receive_buffer(). Requires: n <= receive_buffer().size().
  void received(size_t n);

  // The peer closed its end. Afterwards closed() is true.
  void received_end();

  // The next thing to answer.
  std::optional<Event> next_event();

  // ---- Answers, at once or later, in any order. An id whose request is answered already (it timed
  // out) is ignored. Requires: the answer fits the event.

  // A HelloReply needs only features, self_test and software: the session fills in the rest. A body
  // outside PROTOCOL.md's limits is answered as the error that says so.
  void reply(RequestId id, const ReplyBody& body);

  // A refused HELLO ends the connection.
  void refuse(RequestId id, const Error& error);

  // Always followed by PutEnd or PutAborted, or by the end of the session.
  // Requires: `destination` has put.page_bytes bytes. Memory: it stays writable until then.
  void accept_put(RequestId id, MutByteSpan destination);

  void send_page(RequestId id, uint32_t page_index, const PageAnswer& answer);

  // The page is missing, damaged, ...; the client goes on with the other pages.
  void refuse_page(RequestId id, uint32_t page_index, Errc status);

  // ---- Output.

  // Fills `out` with what is to be sent next, at most bytes_max bytes; returns the pieces used.
  // Memory: valid until the next call of sent() or of the destructor.
  size_t gather(std::span<ByteSpan> out, size_t bytes_max) const;

  // The first n gathered bytes are sent; what they kept alive is released.
  void sent(size_t n);

  bool has_output() const { return !output_.empty(); }

  // ---- Time and end.

  // When on_timer() has something to do; UINT64_MAX: never.
  uint64_t next_timer_ns() const;

  // Answers requests past their deadline with timed_out; closes over frames, HELLOs and readers
  // that take too long.
  void on_timer();

  // No new request is taken; what is in flight is answered, then the session closes cleanly.
  void drain();

  // Closes with a GOODBYE that carries the error.
  void close(const Error& error);

  bool closed() const { return closed_; }

  // Why it closed, for the one log line; nullptr: by either side in good order.
  const Error* error() const { return error_ ? &*error_ : nullptr; }

  bool hello_done() const { return hello_done_; }

  size_t requests_in_flight() const { return requests_.size(); }

  // The software text of the peer's HELLO; empty before it.
  const std::string& peer_software() const { return peer_software_; }

 private:
  enum class Input : uint8_t { header, message, page_bytes };
  enum class PutState : uint8_t { none, undecided, accepted, draining };

  struct InFlight {
    RequestInfo info;
    uint64_t wire_id = 0;
    MessageType type = MessageType::hello;
    uint32_t payload_bytes = 0;
    uint32_t frames_sent = 0;
    std::shared_ptr<const GetRequest> get;
    uint32_t pages_asked = 0;
    uint32_t pages_answered = 0;
    std::vector<uint32_t> wanted;  // asked of the application, unanswered
  };

  // The PUT whose frames are coming; other requests wait until its last.
  struct PutInput {
    PutState state = PutState::none;
    RequestId id = 0;
    uint64_t wire_id = 0;
    MutByteSpan destination;
    uint64_t bytes = 0;
    uint64_t received = 0;
    uint32_t frame_index = 1;
  };

  bool in_frame() const { return input_ != Input::header || filled_ != 0; }

  bool may_receive() const;
  void take_header();
  Status check_order(const FrameHeader& header) const;
  Status check_first_frame(const FrameHeader& header) const;
  Status check_put_frame(const FrameHeader& header) const;
  void take_message();
  Status start_request(ByteSpan payload);
  Status start_hello(ByteSpan payload);
  Status start_get(ByteSpan payload);
  Status start_put(ByteSpan payload);
  template <class Message>
  Status announce(ByteSpan payload);
  void take_page_bytes(size_t n);
  std::optional<Event> want_page();
  InFlight* find(RequestId id);
  InFlight* find_wanted(RequestId id, uint32_t page_index);
  void answer(InFlight& request, Errc status, Bytes payload);
  void answer_hello(InFlight& request, const HelloReply& hello);
  FrameHeader reply_header(const InFlight& request, Errc status) const;
  void finish(const InFlight& request);
  void decide_put(RequestId id, PutState state, MutByteSpan destination);
  void expire(InFlight& request, uint64_t now_ns);
  void push_message(const FrameHeader& header, Bytes payload);
  void note_output();
  void end(std::optional<Error> error);
  void close_if_drained();

  const SessionLimits limits_;
  const Clock& clock_;
  const uint64_t opened_ns_;

  // Input.
  Input input_ = Input::header;
  FrameBytes header_bytes_{};
  FrameHeader header_;
  Bytes message_;
  Bytes scratch_;          // where drained page bytes go
  size_t filled_ = 0;      // bytes of the header or payload that are there
  uint64_t input_ns_ = 0;  // when the frame, or the wait for a PUT's next frame, began
  PutInput put_;

  // Requests.
  bool hello_done_ = false;
  bool hello_waits_ = false;
  RequestId next_id_ = 1;
  std::vector<InFlight> requests_;  // at most limits_.requests_in_flight_max
  uint64_t request_bytes_ = 0;
  std::deque<Event> events_;  // at most two for each request
  std::string peer_software_;

  // Output.
  OutputQueue output_;
  uint64_t reply_credit_bytes_;
  uint64_t output_ns_ = 0;  // when the peer last took something, or output began to wait

  bool draining_ = false;
  bool closed_ = false;
  std::optional<Error> error_;
};

}  // namespace sluice::transport
