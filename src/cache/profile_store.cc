#include "src/cache/profile_store.h"

#include <algorithm>
#include <utility>

#include "src/base/units.h"

namespace sluice::cache {
namespace {

constexpr size_t kProfilesMax = 1024;  // small ones must not grow the table without end

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
  Held held{.file = std::make_shared<Bytes>(std::move(file)),
            .profile_bytes = 0,
            .last_use = ++uses_,
            .is_whole = true};
  const uint64_t bytes = held.file->size();
  held.profile_bytes = static_cast<uint32_t>(bytes);
  SLUICE_CHECK(make_room(held, bytes));
  if (held_.try_emplace(digest, std::move(held)).second) {
    bytes_ += bytes;
  }
  return {};
}

ProfileFile ProfileStore::find(const Hash32& digest) {
  const auto found = held_.find(digest);
  if (found == held_.end() || !found->second.is_whole) {
    return nullptr;
  }
  found->second.last_use = ++uses_;
  return found->second.file;
}

void ProfileStore::put_piece(
    const Hash32& digest, uint32_t profile_bytes, uint32_t offset, ByteSpan piece, PieceDone done) {
  const auto at = held_.try_emplace(digest).first;
  Held& held = at->second;
  held.last_use = ++uses_;
  const Status taken = take(held, profile_bytes, offset, piece);
  const auto there = static_cast<uint32_t>(held.file->size());
  if (there == 0) {
    held_.erase(at);
  }
  if (taken.has_error() || there < profile_bytes || held.is_whole) {
    return done(taken.has_error() ? Result<uint32_t>(taken.error()) : there);
  }
  keep(digest, held, std::move(done));
}

Status ProfileStore::take(Held& held, uint32_t profile_bytes, uint32_t offset, ByteSpan piece) {
  const bool is_settled = held.is_whole || !held.waiters.empty();
  if (held.profile_bytes != profile_bytes && is_settled) {
    return SLUICE_ERR(Errc::bad_value,
                      "piece of a profile of {} bytes; the daemon has it, of {}",
                      profile_bytes,
                      held.profile_bytes);
  }
  if (held.profile_bytes != profile_bytes) {
    bytes_ -= std::exchange(held.file, std::make_shared<Bytes>())->size();
    held.profile_bytes = profile_bytes;
  }
  const uint64_t there = held.file->size();
  if (offset != there || piece.size() > profile_bytes - there) {
    return {};
  }
  SLUICE_CHECK(make_room(held, piece.size()));
  held.file->insert(held.file->end(), piece.begin(), piece.end());
  bytes_ += piece.size();
  return {};
}

// Lets go of others until `held` may have so many bytes more.
Status ProfileStore::make_room(const Held& held, uint64_t bytes) {
  if (held.profile_bytes > config_.bytes_max) {
    return SLUICE_ERR(Errc::no_space,
                      "a profile of {}, the daemon holds {} of profiles at most",
                      format_bytes(held.profile_bytes),
                      format_bytes(config_.bytes_max));
  }
  while (bytes_ + bytes > config_.bytes_max || held_.size() > kProfilesMax) {
    auto oldest = held_.end();
    for (auto at = held_.begin(); at != held_.end(); ++at) {
      const bool may_go = &at->second != &held && at->second.waiters.empty();
      if (may_go && (oldest == held_.end() || at->second.goes_before(oldest->second))) {
        oldest = at;
      }
    }
    if (oldest == held_.end()) {
      return SLUICE_ERR(Errc::no_space, "other profiles are on their way to disk; try again");
    }
    bytes_ -= oldest->second.file->size();
    forgotten_ += oldest->second.is_whole ? 1 : 0;
    if (oldest->second.is_whole && config_.forget) {
      config_.forget(oldest->first);
    }
    held_.erase(oldest);
  }
  return {};
}

// All of the file is there. Whoever sends the last piece meanwhile waits for the same.
void ProfileStore::keep(const Hash32& digest, Held& held, PieceDone done) {
  held.waiters.push_back(std::move(done));
  if (held.waiters.size() > 1) {
    return;
  }
  Status good = check_digest(digest, *held.file);
  if (good.has_error() || !config_.keep) {
    return kept(digest, good);
  }
  config_.keep(digest, held.file, [this, digest](const Status& status) { kept(digest, status); });
}

void ProfileStore::kept(const Hash32& digest, const Status& status) {
  const auto at = held_.find(digest);
  const std::vector<PieceDone> waiters = std::exchange(at->second.waiters, {});
  const uint32_t profile_bytes = at->second.profile_bytes;
  at->second.is_whole = status.has_value();
  if (status.has_error()) {
    bytes_ -= at->second.file->size();
    held_.erase(at);
  }
  for (const PieceDone& done : waiters) {
    done(status.has_error() ? Result<uint32_t>(status.error()) : profile_bytes);
  }
}

ProfileStats ProfileStore::stats() const {
  const auto whole = std::count_if(
      held_.begin(), held_.end(), [](const auto& entry) { return entry.second.is_whole; });
  return {.profiles = static_cast<uint64_t>(whole), .bytes = bytes_, .forgotten = forgotten_};
}

}  // namespace sluice::cache
