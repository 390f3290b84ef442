#include "src/cache/profile_store.h"

#include <algorithm>
#include <utility>

#include "src/base/units.h"

namespace sluice::cache {
namespace {

constexpr size_t kProfilesMax = 1024;  // small ones must not grow a table without end

// The entry that was not used for longest among those that may go.
template <class Map, class MayGo>
typename Map::iterator oldest_of(Map& map, const MayGo& may_go) {
  auto oldest = map.end();
  for (auto at = map.begin(); at != map.end(); ++at) {
    if (may_go(*at) && (oldest == map.end() || at->second.last_use < oldest->second.last_use)) {
      oldest = at;
    }
  }
  return oldest;
}

Status check_digest(const Hash32& digest, ByteSpan file) {
  if (const Hash32 actual = sha256(file); actual != digest) {
    return SLUICE_ERR(Errc::bad_checksum,
                      "profile put as {} has the digest {}: it was damaged on its way, or another "
                      "client sends another file under that name",
                      to_hex(digest),
                      to_hex(actual));
  }
  return {};
}

}  // namespace

Status ProfileStore::add(const Hash32& digest, Bytes file) {
  SLUICE_CHECK(make_room(file.size()));
  whole_bytes_ += file.size();
  whole_[digest] = {
      .file = std::make_shared<const Bytes>(std::move(file)), .last_use = ++uses_, .is_kept = true};
  return {};
}

ProfileFile ProfileStore::find(const Hash32& digest) {
  const auto found = whole_.find(digest);
  if (found == whole_.end() || !found->second.is_kept) {
    return nullptr;
  }
  found->second.last_use = ++uses_;
  return found->second.file;
}

void ProfileStore::put_piece(
    const Hash32& digest, uint32_t profile_bytes, uint32_t offset, ByteSpan piece, PieceDone done) {
  if (const auto whole = whole_.find(digest); whole != whole_.end()) {
    return answer_of_whole(whole->second, profile_bytes, std::move(done));
  }
  const auto begun = begun_.find(digest);
  const bool is_new = begun == begun_.end();
  if (piece.empty()) {
    const bool is_same = !is_new && begun->second.profile_bytes == profile_bytes;
    return done(is_same ? static_cast<uint32_t>(begun->second.bytes.size()) : 0);
  }
  if (Status fits = check_size(profile_bytes); fits.has_error() || (is_new && offset != 0)) {
    return done(fits.has_error() ? Result<uint32_t>(fits.error()) : 0u);
  }
  Begun& there = append(digest, profile_bytes, offset, piece);
  if (there.bytes.size() < profile_bytes) {
    return done(static_cast<uint32_t>(there.bytes.size()));
  }
  Bytes bytes = std::move(there.bytes);
  begun_bytes_ -= bytes.size();
  begun_.erase(digest);
  finish(digest, std::move(bytes), std::move(done));
}

void ProfileStore::answer_of_whole(Whole& whole, uint32_t profile_bytes, PieceDone done) {
  whole.last_use = ++uses_;
  const auto size = static_cast<uint32_t>(whole.file->size());
  if (size != profile_bytes) {
    return done(SLUICE_ERR(Errc::bad_value,
                           "piece of a profile of {} bytes; the daemon has it, of {}",
                           profile_bytes,
                           size));
  }
  if (whole.is_kept) {
    return done(size);
  }
  whole.waiters.push_back(std::move(done));
}

// The begun file with the piece behind it; others go where it makes them too many.
ProfileStore::Begun& ProfileStore::append(const Hash32& digest,
                                          uint32_t profile_bytes,
                                          uint32_t offset,
                                          ByteSpan piece) {
  Begun& begun = begun_[digest];
  if (begun.profile_bytes != profile_bytes) {
    begun_bytes_ -= begun.bytes.size();
    begun = {.bytes = {}, .profile_bytes = profile_bytes};
  }
  begun.last_use = ++uses_;
  if (offset == begun.bytes.size() && piece.size() <= profile_bytes - offset) {
    begun.bytes.insert(begun.bytes.end(), piece.begin(), piece.end());
    begun_bytes_ += piece.size();
  }
  while (begun_bytes_ > config_.begun_bytes_max || begun_.size() > kProfilesMax) {
    const auto oldest = oldest_of(begun_, [&](const auto& entry) { return entry.first != digest; });
    if (oldest == begun_.end()) {
      break;  // it alone is allowed to be larger
    }
    begun_bytes_ -= oldest->second.bytes.size();
    begun_.erase(oldest);
  }
  return begun;
}

// All of a file came.
void ProfileStore::finish(const Hash32& digest, Bytes bytes, PieceDone done) {
  Status good = check_digest(digest, bytes);
  if (good.has_value()) {
    good = make_room(bytes.size());
  }
  if (good.has_error()) {
    return done(good.error());
  }
  bytes.shrink_to_fit();  // it grew by pieces
  whole_bytes_ += bytes.size();
  Whole& whole = whole_[digest];
  whole.file = std::make_shared<const Bytes>(std::move(bytes));
  whole.last_use = ++uses_;
  whole.waiters.push_back(std::move(done));
  if (!config_.keep) {
    return kept(digest, {});
  }
  config_.keep(digest, whole.file, [this, digest](const Status& status) { kept(digest, status); });
}

Status ProfileStore::check_size(uint64_t bytes) const {
  if (bytes > config_.bytes_max) {
    return SLUICE_ERR(Errc::no_space,
                      "a profile of {}, the daemon holds {} of profiles at most",
                      format_bytes(bytes),
                      format_bytes(config_.bytes_max));
  }
  return {};
}

// Lets go of others until so many bytes fit.
Status ProfileStore::make_room(uint64_t bytes) {
  SLUICE_CHECK(check_size(bytes));
  while (whole_bytes_ + bytes > config_.bytes_max || whole_.size() >= kProfilesMax) {
    const auto oldest = oldest_of(whole_, [](const auto& entry) { return entry.second.is_kept; });
    if (oldest == whole_.end()) {
      return SLUICE_ERR(Errc::no_space, "other profiles are on their way to disk; try again");
    }
    ++forgotten_;
    if (config_.forget) {
      config_.forget(oldest->first);
    }
    whole_bytes_ -= oldest->second.file->size();
    whole_.erase(oldest);
  }
  return {};
}

void ProfileStore::kept(const Hash32& digest, const Status& status) {
  const auto at = whole_.find(digest);
  const auto size = static_cast<uint32_t>(at->second.file->size());
  const std::vector<PieceDone> waiters = std::exchange(at->second.waiters, {});
  at->second.is_kept = status.has_value();
  if (status.has_error()) {
    whole_bytes_ -= size;
    whole_.erase(at);
  }
  for (const PieceDone& done : waiters) {
    done(status.has_error() ? Result<uint32_t>(status.error()) : size);
  }
}

ProfileStats ProfileStore::stats() const {
  return {.profiles = whole_.size(), .bytes = whole_bytes_ + begun_bytes_, .forgotten = forgotten_};
}

}  // namespace sluice::cache
