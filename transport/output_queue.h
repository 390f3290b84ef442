// Frames that wait to be sent, and the memory that they keep alive. No I/O; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "src/base/bytes.h"
#include "transport/frame.h"

namespace sluice::transport {

class OutputQueue {
 public:
  // Queues a frame with `message` as its payload; fills in the header's size and checksum.
  void push_message(FrameHeader header, Bytes message);

  // Queues page bytes in as many frames as they need, indexed from header.frame_index on; the last
  // has kFlagLast if `header` has it. Returns the number of frames.
  // Memory: keep_alive keeps the pieces readable; it is released with the last byte sent.
  uint32_t push_page(FrameHeader header,
                     std::span<const ByteSpan> pieces,
                     const std::shared_ptr<const void>& keep_alive);

  // Fills `out` with what is next, at most bytes_max bytes; returns the pieces used.
  size_t gather(std::span<ByteSpan> out, size_t bytes_max) const;

  // Forgets the first n bytes. Requires: n <= bytes().
  void sent(size_t n);

  uint64_t bytes() const { return bytes_; }

  // Bytes that count towards a credit: small frames take more memory than they send.
  uint64_t charged_bytes() const { return bytes_ + frames_.size() * kFrameOverheadBytes; }

  bool empty() const { return frames_.empty(); }

 private:
  static constexpr uint64_t kFrameOverheadBytes = 512;

  struct Frame {
    FrameBytes header{};
    Bytes message;                 // the payload, or
    std::vector<ByteSpan> pieces;  // views of it
    size_t bytes = 0;              // header and payload
    std::shared_ptr<const void> keep_alive;
  };

  void push(Frame frame, const FrameHeader& header);

  std::deque<Frame> frames_;
  size_t front_sent_ = 0;  // bytes of frames_.front() that are gone
  uint64_t bytes_ = 0;     // of all frames, less front_sent_
};

}  // namespace sluice::transport
