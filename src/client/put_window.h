// PUTs of one space that are under way together where they wait for the disk: the next page is
// encoded and sent while those before it come to disk, and they share its syncs. Into RAM one at a
// time.
//
// Not which pages to put (space.h). Bounded in pages and bytes. The client makes no other request
// between the first send() and finish(). One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "transport/requester.h"

namespace sluice::client {

class Space;

// A page on its way.
struct SentPage {
  size_t index = 0;  // the caller's
  uint64_t bytes = 0;
};

class PutWindow {
 public:
  // What became of a page, in any order: true where the daemon took it, false where it keeps the
  // one that it has, as good or better; or why not. The error that it returns ends send() or
  // finish().
  using Done = std::function<Status(const SentPage& page, const Result<bool>& taken)>;

  // `space` must outlive the window.
  PutWindow(Space& space, transport::Ack ack, Done done);
  ~PutWindow();  // as finish(), whose answer nobody takes
  PutWindow(const PutWindow&) = delete;
  PutWindow& operator=(const PutWindow&) = delete;

  // Sends a page, once there is room for it; it is copied. Every page is told to `done` once; one
  // that finds the daemon overloaded is sent a second time, when no other of the window is under
  // way. Errors: what `done` returned.
  Status send(size_t index, const Hash32& key, const Hash32& anchor, ByteSpan page);

  // Waits for all that are under way. Errors: the first that `done` returned.
  Status finish();

 private:
  struct Put {
    size_t index = 0;
    transport::PutRequest request;
    Bytes page;
    bool is_second_time = false;
    uint64_t number = 0;  // of the request

    SentPage sent() const { return {.index = index, .bytes = page.size()}; }
  };

  bool is_empty() const;
  bool has_room(uint64_t bytes) const;
  Status step();
  Status send(Put put);
  Result<uint64_t> send_request(Put& put);
  Status receive_one();
  Put take(uint64_t number);
  Status answered(Put put, const Result<transport::PutReply>& reply);

  Space& space_;
  transport::Ack ack_;
  Done done_;
  // Of those under way. The client lets go of it after a call that lost time.
  std::shared_ptr<transport::Requester> requester_;
  uint32_t handle_ = 0;
  std::vector<Put> under_way_;
  std::vector<Put> again_;  // found the daemon overloaded
  uint64_t bytes_ = 0;      // of those under way
};

}  // namespace sluice::client
