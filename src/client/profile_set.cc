#include "src/client/profile_set.h"

#include <algorithm>
#include <utility>

namespace sluice::client {

Status ProfileSet::add(ByteSpan file) {
  // The pairing decides the order of channels only, so any is as good for the check.
  SLUICE_CHECK(codec::parse_profile(file, RopePairing::neox));
  Bytes own(file.begin(), file.end());
  if (std::find(files_.begin(), files_.end(), own) == files_.end()) {
    files_.push_back(std::move(own));
  }
  return {};
}

std::vector<codec::Profile> ProfileSet::fitting(const Descriptor& descriptor) const {
  std::vector<codec::Profile> out;
  for (const Bytes& file : files_) {
    Result<codec::Profile> profile = codec::parse_profile(file, descriptor.rope.pairing);
    if (profile.has_value() && codec::check_profile(*profile, descriptor).has_value()) {
      out.push_back(*std::move(profile));
    }
  }
  return out;
}

const codec::Profile* best_profile(const std::vector<codec::Profile>& profiles, uint32_t put_kl) {
  const codec::Profile* best = nullptr;
  for (const codec::Profile& profile : profiles) {
    // Of one model the worse quality is the smaller page.
    if (profile.row.kl <= put_kl && (best == nullptr || profile.row.kl > best->row.kl)) {
      best = &profile;
    }
  }
  return best;
}

}  // namespace sluice::client
