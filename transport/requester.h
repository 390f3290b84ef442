// The client's side of one connection: sends a request, receives and checks its reply, one request
// at a time (PROTOCOL.md, "Connection").
//
// Not reconnection, not what pages mean (src/client). One thread. Page bytes are received straight
// into the caller's memory and sent straight from it.
//
// An error that the daemon answered (its text is the daemon's) leaves the connection usable; any
// other (connection_lost, timed_out, protocol_error, bad_checksum, ...) closes it: see usable().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/clock.h"
#include "src/base/result.h"
#include "transport/byte_stream.h"
#include "transport/messages.h"

namespace sluice::transport {

struct CallOptions {
  uint64_t deadline_ns = 0;  // absolute, on the clock of the Requester
  TraceId trace_id{};
};

// Where the pages of a GET go. Each page asked for is announced once; pages may come in any order.
class PageSink {
 public:
  virtual ~PageSink() = default;

  // Page meta.page_index comes: the memory for its meta.page_bytes() bytes, header first.
  // An empty span passes over the page; page_ends() is then not called.
  virtual MutByteSpan page_begins(const PageMeta& meta) = 0;

  // All of its bytes are in that memory. Not yet verified: the caller checks header and sections.
  virtual void page_ends(const PageMeta& meta) = 0;

  // There is no such page: meta.status says why.
  virtual void page_missing(const PageMeta& meta) = 0;
};

// The answer to one of several PUTs.
struct PutAnswer {
  uint64_t number = 0;  // as send_put gave it
  Result<PutReply> reply;
};

class Requester {
 public:
  // `clock` must outlive the requester and count as SteadyClock does unless `stream` knows better.
  Requester(std::unique_ptr<ByteStream> stream, const Clock& clock);
  ~Requester();

  // Each sends one request and waits for its reply.
  // Errors: connection_lost, timed_out, io_error; protocol_error, truncated, bad_magic,
  // bad_version, bad_checksum, reserved_set, too_large, bad_value, unsupported (the peer broke the
  // protocol); too_large, bad_value, invalid_argument (the request is none; nothing was sent, the
  // connection stays usable); whatever the daemon answered.
  Result<HelloReply> hello(const HelloRequest& request, const CallOptions& options);
  Result<OpenReply> open(const OpenRequest& request, const CallOptions& options);
  Result<LookupReply> lookup(const LookupRequest& request, const CallOptions& options);
  Result<DamagedReply> damaged(const DamagedRequest& request, const CallOptions& options);
  Result<DeleteReply> erase(const DeleteRequest& request, const CallOptions& options);
  Result<StatsReply> stats(const CallOptions& options);
  Result<GetProfileReply> get_profile(const GetProfileRequest& request, const CallOptions& options);
  Result<PutProfileReply> put_profile(const PutProfileRequest& request, const CallOptions& options);

  // Receives every page of `request` into `sink`. On an error some pages may have ended already.
  Status get(const GetRequest& request, PageSink& sink, const CallOptions& options);

  // Sends a page gathered from `page`, whose pieces together are request.page_bytes long.
  Result<PutReply> put(const PutRequest& request,
                       std::span<const ByteSpan> page,
                       const CallOptions& options);

  // The same in two halves, so that several are under way at once; no other request while one is.
  // send_put returns the request's number. receive_put waits for the answer to any of them; its own
  // error closed the connection: no other answer comes. Requires: one is under way.
  Result<uint64_t> send_put(const PutRequest& request,
                            std::span<const ByteSpan> page,
                            const CallOptions& options);
  Result<PutAnswer> receive_put(const CallOptions& options);

  // False once an error closed the connection, or where the daemon ended it since the last request:
  // connect again.
  bool usable() const { return usable_ && stream_->is_quiet(); }

 private:
  struct Call {
    MessageType type = MessageType::hello;
    uint64_t id = 0;
    CallOptions options;
    uint32_t frames_received = 0;
  };

  template <class Reply, class Request>
  Result<Reply> exchange(MessageType type, const Request& request, const CallOptions& options);
  Call new_call(MessageType type, const CallOptions& options);
  FrameHeader request_header(const Call& call) const;
  Status check_usable() const;
  Status send_message(Call& call, const Bytes& payload);
  Status send_page(Call& call, const Bytes& payload, std::span<const ByteSpan> page);
  Status send(Call& call, std::span<const ByteSpan> pieces);
  Result<FrameHeader> receive_any_header(const Call& call);
  Result<FrameHeader> receive_header(Call& call);
  Status check_reply(Call& call, const FrameHeader& header);
  Status receive_refusal(const Call& call, const FrameHeader& header);
  Result<Bytes> receive_payload(const Call& call, const FrameHeader& header);
  Result<Bytes> receive_reply(Call& call);
  Result<Bytes> receive_reply(const Call& call, const FrameHeader& header);
  Status receive_pages(Call& call, const GetRequest& request, PageSink& sink);
  Status receive_page(Call& call, const PageMeta& meta, MutByteSpan out, bool last_page);
  Status pass_over_bytes(const Call& call, size_t count);
  Status receive_bytes(const Call& call, MutByteSpan out);
  Error broken(Error error);

  std::unique_ptr<ByteStream> stream_;
  const Clock& clock_;
  uint64_t next_id_ = 1;
  std::vector<uint64_t> puts_;  // that are under way
  bool usable_ = true;
};

}  // namespace sluice::transport
