#include "src/base/checksum.h"

#include <openssl/evp.h>
#include <xxhash.h>

namespace sluice {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();

  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  ~Context() { EVP_MD_CTX_free(evp); }

  void restart() { SLUICE_ASSERT(EVP_DigestInit_ex(evp, EVP_sha256(), nullptr) == 1); }
};

#if defined(__x86_64__)
uint64_t xxh3_64_avx2(const void* bytes, size_t size);  // checksum_avx2.cc

// Debian's library is built for SSE2: 9-15 GB/s where AVX2 hashes 27-40 in the cache, 13 out of it.
// Every page is hashed at each hop.
uint64_t xxh3_64(ByteSpan bytes) {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2 ? xxh3_64_avx2(bytes.data(), bytes.size())
                  : XXH3_64bits(bytes.data(), bytes.size());
}
#else
uint64_t xxh3_64(ByteSpan bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}
#endif

Hash32 sha256(ByteSpan bytes) {
  Hash32 out;
  SLUICE_ASSERT(
      EVP_Digest(bytes.data(), bytes.size(), out.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return out;
}

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  context_->restart();
}

Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Sha256& Sha256::update(ByteSpan bytes) {
  SLUICE_ASSERT(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1);
  return *this;
}

Hash32 Sha256::finish() {
  Hash32 out;
  SLUICE_ASSERT(EVP_DigestFinal_ex(context_->evp, out.data(), nullptr) == 1);
  context_->restart();
  return out;
}

}  // namespace sluice
