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

PutRows best_rows(const std::vector<codec::Profile>& profiles, uint32_t put_kl) {
  PutRows best;
  uint32_t best_kl = 0;
  for (const codec::Profile& profile : profiles) {
    for (size_t i = 0; i < profile.rows.size(); ++i) {
      // Of one model the worse quality is the smaller page.
      const uint32_t kl = profile.rows[i].kl;
      if (kl <= put_kl && kl > best_kl) {
        best = {.profile = &profile, .lossy_rows = static_cast<uint32_t>(i + 1)};
        best_kl = kl;
      }
    }
  }
  return best;
}

}  // namespace sluice::client
