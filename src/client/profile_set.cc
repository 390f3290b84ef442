#include "src/client/profile_set.h"

#include <algorithm>
#include <utility>

namespace sluice::client {

Status ProfileSet::add(ByteSpan file) {
  // The pairing decides the order of channels only, so any is as good for the check.
  SLUICE_TRY(const codec::Profile profile, codec::parse_profile(file, RopePairing::neox));
  if (this->file(profile.digest).empty()) {
    files_.push_back({.digest = profile.digest, .bytes = Bytes(file.begin(), file.end())});
  }
  return {};
}

ByteSpan ProfileSet::file(const Hash32& digest) const {
  const auto found = std::find_if(
      files_.begin(), files_.end(), [&](const File& file) { return file.digest == digest; });
  return found == files_.end() ? ByteSpan() : ByteSpan(found->bytes);
}

std::vector<codec::Profile> ProfileSet::fitting(const Descriptor& descriptor) const {
  std::vector<codec::Profile> out;
  for (const File& file : files_) {
    Result<codec::Profile> profile = codec::parse_profile(file.bytes, descriptor.rope.pairing);
    if (profile.has_value() && codec::check_profile(*profile, descriptor).has_value()) {
      out.push_back(*std::move(profile));
    }
  }
  return out;
}

Result<uint32_t> ProfileSet::level_kl(const Descriptor& descriptor, std::string_view level) const {
  if (level == codec::level_name(codec::Level::exact)) {
    return 0u;
  }
  bool is_known = false;
  for (codec::Level lossy : {codec::Level::q1, codec::Level::q2, codec::Level::q3}) {
    is_known = is_known || level == codec::level_name(lossy);
  }
  if (!is_known) {
    return SLUICE_ERR(Errc::invalid_argument, "level '{}', expected q3, q2, q1 or exact", level);
  }
  for (const codec::Profile& profile : fitting(descriptor)) {
    for (const codec::Row& row : profile.rows) {
      if (codec::level_name(row.level) == level) {
        return row.kl;
      }
    }
  }
  return SLUICE_ERR(Errc::not_found,
                    "none of the client's profiles is of this model and says what level {} costs; "
                    "add one that does, or name a number of micro-nats",
                    level);
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
