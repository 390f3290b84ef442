// Frames by hand, a session fed by hand, and a ByteStream straight into a session, for tests.
#pragma once

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/prng.h"
#include "transport/byte_stream.h"
#include "transport/session.h"
#include "transport/stream_server.h"

namespace sluice::transport {

inline Hash32 key_of(uint8_t first) {
  Hash32 key{};
  for (size_t i = 0; i < key.size(); ++i) {
    key[i] = static_cast<uint8_t>(first + i);
  }
  return key;
}

inline Bytes random_bytes(size_t count, uint64_t seed) {
  Prng prng(seed);
  Bytes out(count);
  for (uint8_t& byte : out) {
    byte = static_cast<uint8_t>(prng.next());
  }
  return out;
}

// A frame with its checksums; page bytes get none.
inline Bytes frame(FrameHeader header, ByteSpan payload) {
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.payload_xxh3 = header.has(kFlagPageBytes) ? 0 : xxh3_64(payload);
  FrameBytes bytes = encode_frame_header(header);
  Bytes out(bytes.size() + payload.size());
  std::copy(bytes.begin(), bytes.end(), out.begin());
  std::copy(payload.begin(), payload.end(), out.begin() + bytes.size());
  return out;
}

inline FrameHeader request_header(MessageType type, uint64_t id) {
  return {.type = type, .flags = kFlagLast, .request_id = id, .deadline_ms = 1000};
}

template <class Message>
Bytes request(MessageType type, uint64_t id, const Message& message) {
  return frame(request_header(type, id), *encode(message));
}

inline Bytes hello_frame() {
  return request(MessageType::hello, 1, HelloRequest());
}

// A PUT's message and its page in frames of `frame_bytes`.
inline Bytes put_frames(uint64_t id, const PutRequest& put, ByteSpan page, size_t frame_bytes) {
  FrameHeader header = request_header(MessageType::put, id);
  header.flags = 0;
  Bytes out = frame(header, *encode(put));
  while (!page.empty()) {
    ByteSpan part = page.first(std::min(page.size(), frame_bytes));
    page = page.subspan(part.size());
    ++header.frame_index;
    header.flags = page.empty() ? kFlagPageBytes | kFlagLast : kFlagPageBytes;
    Bytes bytes = frame(header, part);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

// Gives the session as much of `bytes` as it takes, at most `chunk` at a time, answering events.
// Returns the bytes taken.
inline size_t feed(Session& session, SessionHandler& handler, ByteSpan bytes, size_t chunk = 4096) {
  size_t taken = 0;
  while (true) {
    while (auto event = session.next_event()) {
      handler.on_event(session, *std::move(event));
    }
    MutByteSpan buffer = session.receive_buffer();
    size_t n = std::min({chunk, buffer.size(), bytes.size() - taken});
    if (n == 0) {
      return taken;
    }
    std::copy_n(bytes.data() + taken, n, buffer.data());
    session.received(n);
    taken += n;
  }
}

// Everything that the session has to send.
inline Bytes drain_output(Session& session) {
  Bytes out;
  std::vector<ByteSpan> pieces(3);
  while (size_t count = session.gather(pieces, 1000)) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      out.insert(out.end(), pieces[i].begin(), pieces[i].end());
      bytes += pieces[i].size();
    }
    session.sent(bytes);
  }
  return out;
}

struct WireFrame {
  FrameHeader header;
  Bytes payload;

  Errc status() const { return static_cast<Errc>(header.status); }

  std::string text() const { return std::string(payload.begin(), payload.end()); }
};

// The frames in `bytes`. Requires: they are whole and right.
inline std::vector<WireFrame> frames_of(ByteSpan bytes) {
  std::vector<WireFrame> out;
  while (!bytes.empty()) {
    FrameHeader header = *parse_frame_header(bytes);
    ByteSpan payload = bytes.subspan(kFrameHeaderBytes, header.payload_bytes);
    out.push_back({header, Bytes(payload.begin(), payload.end())});
    bytes = bytes.subspan(kFrameHeaderBytes + payload.size());
  }
  return out;
}

// The client's stream with the daemon's session behind it in the same thread. Moves at most `chunk`
// bytes a call. Fails with timed_out where a real stream would wait for ever.
class LoopbackStream final : public ByteStream {
 public:
  LoopbackStream(Session& session, SessionHandler& handler, size_t chunk)
      : session_(session), handler_(handler), chunk_(chunk) {}

  // Ends the connection after so many more bytes to the daemon.
  void cut_after(size_t bytes) { left_ = bytes; }

 private:
  Result<size_t> do_send_some(std::span<const ByteSpan> pieces, uint64_t) override {
    size_t n = std::min({chunk_, left_, pieces[0].size()});
    n = feed(session_, handler_, pieces[0].first(n), chunk_);
    left_ -= n;
    if (left_ == 0) {
      do_close();
    }
    return n > 0 ? Result<size_t>(n) : nothing();
  }

  Result<size_t> do_receive_some(MutByteSpan out, uint64_t) override {
    feed(session_, handler_, {});
    ByteSpan piece;
    if (open_ && session_.gather({&piece, 1}, std::min(chunk_, out.size())) == 1) {
      std::copy(piece.begin(), piece.end(), out.begin());
      session_.sent(piece.size());
      return piece.size();
    }
    return nothing();
  }

  void do_close() override {
    if (open_) {
      open_ = false;
      session_.received_end();
    }
  }

  Error nothing() const {
    return session_.closed() ? SLUICE_ERR(Errc::connection_lost, "loopback: closed")
                             : SLUICE_ERR(Errc::timed_out, "loopback: nothing will come");
  }

  Session& session_;
  SessionHandler& handler_;
  const size_t chunk_;
  size_t left_ = SIZE_MAX;
  bool open_ = true;
};

}  // namespace sluice::transport
