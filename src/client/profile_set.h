// The profiles that a client was given: what lossy pages are decoded with, and may be encoded with.
//
// Not where their files lie (the caller's matter). One thread at a time, as its client.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "codec/profile.h"
#include "src/base/result.h"
#include "src/model/descriptor.h"

namespace sluice::client {

class ProfileSet {
 public:
  // Takes a profile file in; one that is there already changes nothing.
  // Errors: as codec::parse_profile.
  Status add(ByteSpan file);

  // The file of this digest; empty where the client was not given it.
  ByteSpan file(const Hash32& digest) const;

  // Those that were measured on the descriptor's model, layers and heads, parsed for its pairing.
  std::vector<codec::Profile> fitting(const Descriptor& descriptor) const;

  // What a level costs, micro-nats: 0 for "exact"; for "q1", "q2" and "q3" as the first profile
  // says that fits and has the level. Errors: invalid_argument (no such level), not_found (no
  // profile says it).
  Result<uint32_t> level_kl(const Descriptor& descriptor, std::string_view level) const;

 private:
  struct File {
    Hash32 digest{};
    Bytes bytes;
  };

  std::vector<File> files_;
};

// What a put encodes with.
struct PutRows {
  const codec::Profile* profile = nullptr;
  uint32_t lossy_rows = 0;  // of the profile, from the first on
};

// The rows that make the smallest pages within put_kl; no profile where there are none.
PutRows best_rows(const std::vector<codec::Profile>& profiles, uint32_t put_kl);

}  // namespace sluice::client
