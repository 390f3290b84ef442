// The profiles that the daemon's pages are coded with, by digest, so that whoever reads a page can
// get its profile where the page is (PROTOCOL.md, "PUT_PROFILE request").
//
// Not what stands in them: to the daemon they are bytes that have their digest. Whole files in RAM;
// where there is a disk, `keep` brings each there too. Bounded in bytes: of whole files those go
// that nobody put, asked for or put a page of for longest, and their pages can be read then by
// those alone who have the profile; begun ones have a bound of their own, so that no whole one goes
// for a file that never ends. No I/O of its own. What comes in is untrusted. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/limits.h"
#include "src/base/result.h"

namespace sluice::cache {

using ProfileFile = std::shared_ptr<const Bytes>;

struct ProfileStoreConfig {
  uint64_t bytes_max = 256ull << 20;  // of whole files; of SmolLM2 one has 0.8 MB, or 4.5 (dense)
  uint64_t begun_bytes_max = kProfileBytesMax;

  // Makes a file durable, then calls `done` on the owner's thread. Empty: RAM is all there is.
  std::function<void(const Hash32& digest, ProfileFile file, std::function<void(Status)> done)>
      keep{};
  std::function<void(const Hash32& digest)> forget{};  // of one that was kept
};

// Counters.
struct ProfileStats {
  uint64_t profiles = 0;   // whole ones
  uint64_t bytes = 0;      // of these, and of what came of others
  uint64_t forgotten = 0;  // whole ones that had to go
};

class ProfileStore {
 public:
  // Called once, with how many bytes are there from the file's beginning on.
  using PieceDone = std::function<void(Result<uint32_t>)>;

  explicit ProfileStore(ProfileStoreConfig config) : config_(std::move(config)) {}

  // Adds a whole file that is kept already, as it is found at start: later ones were used later.
  // Requires: the file has this digest. Errors: no_space (larger than all may be).
  Status add(const Hash32& digest, Bytes file);

  // The whole file, and marks it used; null where there is none.
  ProfileFile find(const Hash32& digest);

  // Takes a piece of a file of `profile_bytes` in, if it begins where the last one ended; an empty
  // one only asks, and one that says another length begins the file anew. `done`: at once, or where
  // it was the last piece, when the file is kept. Errors: bad_value (another length than the file
  // has that is there), bad_checksum (the whole file has another digest), no_space (larger than all
  // may be; others are on their way to disk), as `keep`.
  void put_piece(const Hash32& digest,
                 uint32_t profile_bytes,
                 uint32_t offset,
                 ByteSpan piece,
                 PieceDone done);

  ProfileStats stats() const;

 private:
  struct Begun {
    Bytes bytes;
    uint32_t profile_bytes = 0;
    uint64_t last_use = 0;
  };

  struct Whole {
    ProfileFile file;
    uint64_t last_use = 0;
    bool is_kept = false;
    std::vector<PieceDone> waiters{};  // for that
  };

  void answer_of_whole(Whole& whole, uint32_t profile_bytes, PieceDone done);
  Begun& append(const Hash32& digest, uint32_t profile_bytes, uint32_t offset, ByteSpan piece);
  void finish(const Hash32& digest, Bytes bytes, PieceDone done);
  Status check_size(uint64_t bytes) const;
  Status make_room(uint64_t bytes);
  void kept(const Hash32& digest, const Status& status);

  const ProfileStoreConfig config_;
  std::map<Hash32, Begun> begun_;
  std::map<Hash32, Whole> whole_;
  uint64_t begun_bytes_ = 0;
  uint64_t whole_bytes_ = 0;
  uint64_t uses_ = 0;
  uint64_t forgotten_ = 0;
};

}  // namespace sluice::cache
