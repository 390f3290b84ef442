// The two checksums of Sluice: XXH3-64 (seed 0) for sections and frames, SHA-256 for identities.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "src/base/bytes.h"

namespace sluice {

using Hash32 = std::array<uint8_t, 32>;

// XXH3-64 with seed 0. Source: xxHash specification, as built into libxxhash 0.8.
uint64_t xxh3_64(ByteSpan bytes);

// SHA-256 of the bytes. Source: FIPS 180-4, through OpenSSL (SHA-NI where the CPU has it).
Hash32 sha256(ByteSpan bytes);

// SHA-256 over parts that are not next to each other in memory.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& update(ByteSpan bytes);

  // The digest of all updates; the object then starts anew.
  Hash32 finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace sluice
