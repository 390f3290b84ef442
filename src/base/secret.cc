#include "src/base/secret.h"

#include <openssl/crypto.h>

namespace sluice {

bool equal_in_constant_time(const Hash32& a, const Hash32& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace sluice
