#include "transport/output_queue.h"

#include <algorithm>
#include <utility>

#include "src/base/checksum.h"
#include "transport/piece_cursor.h"

namespace sluice::transport {

void OutputQueue::push(Frame frame, const FrameHeader& header) {
  frame.header = encode_frame_header(header);
  frame.bytes = kFrameHeaderBytes + header.payload_bytes;
  bytes_ += frame.bytes;
  frames_.push_back(std::move(frame));
}

void OutputQueue::push_message(FrameHeader header, Bytes message) {
  header.payload_bytes = static_cast<uint32_t>(message.size());
  header.payload_xxh3 = xxh3_64(message);
  Frame frame;
  frame.message = std::move(message);
  push(std::move(frame), header);
}

uint32_t OutputQueue::push_page(FrameHeader header,
                                std::span<const ByteSpan> pieces,
                                const std::shared_ptr<const void>& keep_alive) {
  bool ends = header.has(kFlagLast);
  uint32_t first = header.frame_index;
  PieceCursor cursor(pieces);
  for (uint64_t left = total_bytes(pieces); left > 0; ++header.frame_index) {
    auto size = static_cast<uint32_t>(std::min<uint64_t>(left, kFramePayloadBytesMax));
    left -= size;
    uint16_t last = ends && left == 0 ? kFlagLast : uint16_t{0};
    header.flags = static_cast<uint16_t>((header.flags & ~kFlagLast) | last | kFlagPageBytes);
    header.payload_bytes = size;
    Frame frame;
    cursor.take(size, frame.pieces);
    frame.keep_alive = keep_alive;
    push(std::move(frame), header);
  }
  return header.frame_index - first;
}

size_t OutputQueue::gather(std::span<ByteSpan> out, size_t bytes_max) const {
  size_t used = 0;
  size_t skip = front_sent_;
  auto add = [&](ByteSpan piece) {
    size_t gone = std::min(skip, piece.size());
    skip -= gone;
    piece = piece.subspan(gone);
    piece = piece.first(std::min(piece.size(), bytes_max));
    bytes_max -= piece.size();
    if (!piece.empty() && used < out.size()) {
      out[used++] = piece;
    }
  };
  for (const Frame& frame : frames_) {
    if (bytes_max == 0 || used == out.size()) {
      break;
    }
    add(frame.header);
    add(frame.message);
    for (ByteSpan piece : frame.pieces) {
      add(piece);
    }
  }
  return used;
}

void OutputQueue::sent(size_t n) {
  SLUICE_ASSERT(n <= bytes_);
  bytes_ -= n;
  front_sent_ += n;
  while (!frames_.empty() && front_sent_ >= frames_.front().bytes) {
    front_sent_ -= frames_.front().bytes;
    frames_.pop_front();
  }
}

}  // namespace sluice::transport
