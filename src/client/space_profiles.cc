// A space's profiles: those that the client was given, those that come from the daemon, and the
// pages whose profile neither has.
#include <algorithm>
#include <utility>

#include "src/base/clock.h"
#include "src/base/limits.h"
#include "src/client/profile_transfer.h"
#include "src/client/space.h"

namespace sluice::client {
namespace {

// Before the daemon is asked again for what it could not do.
constexpr uint64_t kPauseNs = 60ull * 1'000'000'000;

}  // namespace

const codec::Profile* Space::profile(const Hash32& digest) const {
  auto found = std::find_if(
      profiles_.begin(), profiles_.end(), [&](const auto& one) { return one.digest == digest; });
  if (found != profiles_.end()) {
    return &*found;
  }
  const auto fetched = fetched_.find(digest);
  return fetched == fetched_.end() || !fetched->second ? nullptr : &*fetched->second;
}

// Each put asks: the daemon may be another one, or have let go of it; and asking keeps it. Where it
// cannot keep it, whatever the reason, pages are stored as `direct`, and it is not sent again for a
// while.
Result<bool> Space::offer_put_profile() {
  if (put_rows_.profile == nullptr || SteadyClock().now_ns() < offer_again_ns_) {
    return false;
  }
  Status offered = offer_profiles(client_, {put_rows_.profile->digest});
  if (offered.has_value()) {
    return true;
  }
  // After a timeout too: a disk that hangs must not cost each put its deadline.
  offer_again_ns_ = SteadyClock().now_ns() + kPauseNs;
  const Errc code = offered.error().code;
  if (code != Errc::no_space && code != Errc::io_error && code != Errc::overloaded &&
      code != Errc::bad_checksum && code != Errc::bad_value) {
    return std::move(offered).error();
  }
  return false;
}

// Takes a profile that a page names from the daemon, if that has it, whole.
Status Space::fetch_profile(const Hash32& digest) {
  if (fetched_.contains(digest)) {
    return {};
  }
  const Result<Bytes> file = get_profile(client_, digest);
  if (file.has_error()) {
    const Errc code = file.error().code;
    return code == Errc::not_found || code == Errc::damaged ? Status() : Status(file.error());
  }
  if (fetched_.size() == kFetchedMax) {
    fetched_.erase(fetched_.begin());
  }
  Result<codec::Profile> profile = codec::parse_profile(*file, parsed_.rope.pairing);
  if (profile.has_value()) {
    profile->extras.clear();  // no page is coded with them
  }
  const bool fits = profile.has_value() && codec::check_profile(*profile, parsed_).has_value();
  fetched_[digest] = fits ? std::optional(*std::move(profile)) : std::nullopt;
  ++fetches_;
  return {};
}

// Bounded, since a client that only reads never takes one out.
void Space::note_unreadable(std::span<const Hash32> keys, const Hash32& profile) {
  constexpr size_t kUnreadableMax = size_t{4} * kKeysMax;
  if (unreadable_.size() + keys.size() > kUnreadableMax) {
    unreadable_.clear();
  }
  const uint64_t until_ns = SteadyClock().now_ns() + kPauseNs;
  for (const Hash32& key : keys) {
    unreadable_[key] = {.profile = profile, .until_ns = until_ns};
  }
}

bool Space::is_readable(const Hash32& key) const {
  const auto page = unreadable_.find(key);
  return page == unreadable_.end() || page->second.until_ns < SteadyClock().now_ns();
}

// After the daemon was asked once more for the profile of the first that is not.
Result<size_t> Space::readable(std::span<const Hash32> keys) {
  const auto count = [&] {
    const auto found = std::find_if(
        keys.begin(), keys.end(), [&](const Hash32& key) { return !is_readable(key); });
    return static_cast<size_t>(found - keys.begin());
  };
  const size_t before = count();
  if (before == keys.size()) {
    return before;
  }
  const Hash32 digest = unreadable_.at(keys[before]).profile;
  SLUICE_CHECK(fetch_profile(digest));
  if (profile(digest) == nullptr) {
    return before;
  }
  std::erase_if(unreadable_, [&](const auto& page) { return page.second.profile == digest; });
  return count();
}

}  // namespace sluice::client
