#include "transport/requester.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "src/base/checksum.h"
#include "transport/piece_cursor.h"

namespace sluice::transport {
namespace {

constexpr uint64_t kNsPerMs = 1'000'000;
constexpr size_t kPassOverBytes = 64 << 10;

// The daemon gets 7/8 of the time, so that its timed_out arrives before the connection is given up.
uint32_t wire_deadline_ms(uint64_t deadline_ns, uint64_t now_ns) {
  uint64_t left = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
  uint64_t ms = (left - left / 8) / kNsPerMs;
  return static_cast<uint32_t>(std::clamp<uint64_t>(ms, 1, kDeadlineMsMax));
}

}  // namespace

Requester::Requester(std::unique_ptr<ByteStream> stream, const Clock& clock)
    : stream_(std::move(stream)), clock_(clock) {}

Requester::~Requester() = default;

Result<HelloReply> Requester::hello(const HelloRequest& request, const CallOptions& options) {
  return exchange<HelloReply>(MessageType::hello, request, options);
}

Result<OpenReply> Requester::open(const OpenRequest& request, const CallOptions& options) {
  return exchange<OpenReply>(MessageType::open, request, options);
}

Result<LookupReply> Requester::lookup(const LookupRequest& request, const CallOptions& options) {
  return exchange<LookupReply>(MessageType::lookup, request, options);
}

Result<DamagedReply> Requester::damaged(const DamagedRequest& request, const CallOptions& options) {
  return exchange<DamagedReply>(MessageType::damaged, request, options);
}

Result<DeleteReply> Requester::erase(const DeleteRequest& request, const CallOptions& options) {
  return exchange<DeleteReply>(MessageType::erase, request, options);
}

Result<StatsReply> Requester::stats(const CallOptions& options) {
  return exchange<StatsReply>(MessageType::stats, StatsRequest(), options);
}

Result<GetProfileReply> Requester::get_profile(const GetProfileRequest& request,
                                               const CallOptions& options) {
  return exchange<GetProfileReply>(MessageType::get_profile, request, options);
}

Result<PutProfileReply> Requester::put_profile(const PutProfileRequest& request,
                                               const CallOptions& options) {
  return exchange<PutProfileReply>(MessageType::put_profile, request, options);
}

template <class Reply, class Request>
Result<Reply> Requester::exchange(MessageType type,
                                  const Request& request,
                                  const CallOptions& options) {
  SLUICE_CHECK(check_usable());
  SLUICE_TRY(Bytes payload, encode(request));
  Call call = new_call(type, options);
  SLUICE_CHECK(send_message(call, payload));
  SLUICE_TRY(Bytes answer, receive_reply(call));
  auto reply = parse<Reply>(answer);
  if (reply.has_error()) {
    return broken(std::move(reply).error());
  }
  return reply;
}

Status Requester::get(const GetRequest& request, PageSink& sink, const CallOptions& options) {
  SLUICE_CHECK(check_usable());
  SLUICE_TRY(Bytes payload, encode(request));
  Call call = new_call(MessageType::get, options);
  SLUICE_CHECK(send_message(call, payload));
  return receive_pages(call, request, sink);
}

Result<PutReply> Requester::put(const PutRequest& request,
                                std::span<const ByteSpan> page,
                                const CallOptions& options) {
  SLUICE_CHECK(send_put(request, page, options));
  SLUICE_TRY(PutAnswer answer, receive_put(options));
  return std::move(answer.reply);
}

Result<uint64_t> Requester::send_put(const PutRequest& request,
                                     std::span<const ByteSpan> page,
                                     const CallOptions& options) {
  SLUICE_CHECK(check_usable());
  if (total_bytes(page) != request.page_bytes) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "PUT of {} page bytes with pieces of {} bytes together",
                      request.page_bytes,
                      total_bytes(page));
  }
  SLUICE_TRY(Bytes payload, encode(request));
  Call call = new_call(MessageType::put, options);
  SLUICE_CHECK(send_page(call, payload, page));
  puts_.push_back(call.id);
  return call.id;
}

Result<PutAnswer> Requester::receive_put(const CallOptions& options) {
  SLUICE_CHECK(check_usable());
  SLUICE_ASSERT(!puts_.empty());
  Call call{.type = MessageType::put, .id = puts_.front(), .options = options};
  SLUICE_TRY(FrameHeader header, receive_any_header(call));
  const auto put = std::find(puts_.begin(), puts_.end(), header.request_id);
  if (put != puts_.end()) {  // check_reply refuses what is not
    call.id = *put;
    puts_.erase(put);
  }
  SLUICE_CHECK(check_reply(call, header));
  Result<Bytes> answer = receive_reply(call, header);
  if (!usable_) {
    return std::move(answer).error();
  }
  PutAnswer out{.number = call.id,
                .reply = answer.has_value() ? parse<PutReply>(*answer) : answer.error()};
  if (answer.has_value() && out.reply.has_error()) {
    return broken(std::move(out.reply).error());
  }
  return out;
}

Status Requester::check_usable() const {
  if (!usable_) {
    return SLUICE_ERR(Errc::connection_lost, "the connection failed before; connect again");
  }
  return {};
}

// Closes the connection: what comes next on it cannot be trusted, or never comes.
Error Requester::broken(Error error) {
  usable_ = false;
  stream_->close();
  return error;
}

Requester::Call Requester::new_call(MessageType type, const CallOptions& options) {
  return Call{.type = type, .id = next_id_++, .options = options};
}

FrameHeader Requester::request_header(const Call& call) const {
  return {.type = call.type,
          .request_id = call.id,
          .trace_id = call.options.trace_id,
          .deadline_ms = wire_deadline_ms(call.options.deadline_ns, clock_.now_ns())};
}

Status Requester::send_message(Call& call, const Bytes& payload) {
  FrameHeader header = request_header(call);
  header.flags = kFlagLast;
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.payload_xxh3 = xxh3_64(payload);
  FrameBytes bytes = encode_frame_header(header);
  return send(call, std::array<ByteSpan, 2>{bytes, payload});
}

Status Requester::send_page(Call& call, const Bytes& payload, std::span<const ByteSpan> page) {
  uint64_t left = total_bytes(page);
  size_t frames = 1 + (left + kFramePayloadBytesMax - 1) / kFramePayloadBytesMax;
  std::vector<FrameBytes> headers(frames);
  std::vector<ByteSpan> pieces;
  FrameHeader header = request_header(call);
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.payload_xxh3 = xxh3_64(payload);
  headers[0] = encode_frame_header(header);
  pieces.insert(pieces.end(), {headers[0], payload});
  header.payload_xxh3 = 0;
  PieceCursor cursor(page);
  for (uint32_t i = 1; i < frames; ++i) {
    header.payload_bytes = static_cast<uint32_t>(std::min<uint64_t>(left, kFramePayloadBytesMax));
    left -= header.payload_bytes;
    header.flags = left == 0 ? kFlagPageBytes | kFlagLast : kFlagPageBytes;
    header.frame_index = i;
    headers[i] = encode_frame_header(header);
    pieces.push_back(headers[i]);
    cursor.take(header.payload_bytes, pieces);
  }
  return send(call, pieces);
}

Status Requester::send(Call& call, std::span<const ByteSpan> pieces) {
  auto status = stream_->send(pieces, call.options.deadline_ns);
  if (!status.has_error()) {
    return {};
  }
  if (status.error().code == Errc::connection_lost) {
    // The daemon may have said why before it closed, behind the answers to PUTs under way.
    auto header = receive_any_header(call);
    while (header.has_value() && receive_payload(call, *header).has_value()) {
      header = receive_any_header(call);
    }
    if (header.has_error() && header.error().code != Errc::connection_lost) {
      return header.error();
    }
  }
  return broken(std::move(status).error());
}

// The next frame's header, whatever it answers; a GOODBYE is the error that it tells.
Result<FrameHeader> Requester::receive_any_header(const Call& call) {
  FrameBytes bytes;
  SLUICE_CHECK(receive_bytes(call, bytes));
  auto parsed = parse_frame_header(bytes);
  if (parsed.has_error()) {
    return broken(std::move(parsed).error());
  }
  const FrameHeader& header = *parsed;
  if (header.has(kFlagReply) && header.type == MessageType::goodbye) {
    SLUICE_TRY(Bytes text, receive_payload(call, header));
    return broken(parse_error(header.status, text));
  }
  return header;
}

Result<FrameHeader> Requester::receive_header(Call& call) {
  SLUICE_TRY(FrameHeader header, receive_any_header(call));
  SLUICE_CHECK(check_reply(call, header));
  return header;
}

// That a frame is the next of the call's reply.
Status Requester::check_reply(Call& call, const FrameHeader& header) {
  if (!header.has(kFlagReply) || header.type != call.type || header.request_id != call.id ||
      header.frame_index != call.frames_received) {
    return broken(SLUICE_ERR(Errc::protocol_error,
                             "waited for frame {} of the reply to {} request {}, got frame {} of "
                             "{} {}",
                             call.frames_received,
                             message_name(call.type),
                             call.id,
                             header.frame_index,
                             message_name(header.type),
                             header.request_id));
  }
  ++call.frames_received;
  return {};
}

Result<Bytes> Requester::receive_payload(const Call& call, const FrameHeader& header) {
  Bytes payload(header.payload_bytes);
  SLUICE_CHECK(receive_bytes(call, payload));
  auto status = verify_payload(header, payload);
  if (status.has_error()) {
    return broken(std::move(status).error());
  }
  return payload;
}

// Receives the text of a reply that is an error, and returns it; ok for other replies.
Status Requester::receive_refusal(const Call& call, const FrameHeader& header) {
  if (header.status == 0) {
    return {};
  }
  SLUICE_TRY(Bytes text, receive_payload(call, header));
  Error error = parse_error(header.status, text);
  if (!header.has(kFlagLast)) {
    return broken(std::move(error));
  }
  return error;
}

Result<Bytes> Requester::receive_reply(Call& call) {
  SLUICE_TRY(FrameHeader header, receive_header(call));
  return receive_reply(call, header);
}

Result<Bytes> Requester::receive_reply(const Call& call, const FrameHeader& header) {
  SLUICE_CHECK(receive_refusal(call, header));
  if (!header.has(kFlagLast)) {
    return broken(SLUICE_ERR(
        Errc::protocol_error, "the {} reply has more than one frame", message_name(call.type)));
  }
  return receive_payload(call, header);
}

Status Requester::receive_pages(Call& call, const GetRequest& request, PageSink& sink) {
  std::vector<bool> seen(request.pages.size());
  for (size_t answered = 1; answered <= request.pages.size(); ++answered) {
    SLUICE_TRY(FrameHeader header, receive_header(call));
    SLUICE_CHECK(receive_refusal(call, header));
    if (header.has(kFlagPageBytes)) {
      return broken(
          SLUICE_ERR(Errc::protocol_error, "page bytes came where a page's meta was due"));
    }
    SLUICE_TRY(Bytes payload, receive_payload(call, header));
    auto meta = parse<PageMeta>(payload);
    if (meta.has_error()) {
      return broken(std::move(meta).error());
    }
    bool last_page = answered == request.pages.size();
    bool last = last_page && meta->status != Errc::ok;
    if (meta->page_index >= seen.size() || seen[meta->page_index] ||
        header.has(kFlagLast) != last) {
      return broken(SLUICE_ERR(Errc::protocol_error,
                               "page {} came out of place: {} of {} answered",
                               meta->page_index,
                               answered - 1,
                               request.pages.size()));
    }
    seen[meta->page_index] = true;
    if (meta->status != Errc::ok) {
      sink.page_missing(*meta);
      continue;
    }
    MutByteSpan out = sink.page_begins(*meta);
    SLUICE_CHECK(receive_page(call, *meta, out, last_page));
    if (!out.empty()) {
      sink.page_ends(*meta);
    }
  }
  return {};
}

Status Requester::receive_page(Call& call, const PageMeta& meta, MutByteSpan out, bool last_page) {
  bool pass_over = out.empty();
  if (!pass_over && out.size() != meta.page_bytes()) {
    return broken(SLUICE_ERR(Errc::invalid_argument,
                             "page {} has {} bytes, the memory offered {}",
                             meta.page_index,
                             meta.page_bytes(),
                             out.size()));
  }
  for (uint64_t left = meta.page_bytes(); left > 0;) {
    SLUICE_TRY(FrameHeader header, receive_header(call));
    bool ends = header.payload_bytes == left;
    if (header.status != 0 || !header.has(kFlagPageBytes) || header.payload_bytes > left ||
        header.has(kFlagLast) != (ends && last_page)) {
      return broken(SLUICE_ERR(Errc::protocol_error,
                               "page {} needs {} more bytes, got a frame of {} with flags {:#x}",
                               meta.page_index,
                               left,
                               header.payload_bytes,
                               header.flags));
    }
    left -= header.payload_bytes;
    if (pass_over) {
      SLUICE_CHECK(pass_over_bytes(call, header.payload_bytes));
    } else {
      SLUICE_CHECK(receive_bytes(call, out.first(header.payload_bytes)));
      out = out.subspan(header.payload_bytes);
    }
  }
  return {};
}

Status Requester::pass_over_bytes(const Call& call, size_t count) {
  Bytes scratch(std::min(count, kPassOverBytes));
  while (count > 0) {
    size_t part = std::min(count, scratch.size());
    SLUICE_CHECK(receive_bytes(call, MutByteSpan(scratch).first(part)));
    count -= part;
  }
  return {};
}

Status Requester::receive_bytes(const Call& call, MutByteSpan out) {
  auto status = stream_->receive_exact(out, call.options.deadline_ns);
  if (status.has_error()) {
    return broken(std::move(status).error());
  }
  return {};
}

}  // namespace sluice::transport
