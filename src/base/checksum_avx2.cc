// XXH3-64 with AVX2. Compiled for AVX2, so it includes nothing whose inline functions other files
// use too: the linker might take the copies made here for all.
#if defined(__x86_64__)
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#include <xxhash.h>

namespace sluice {

uint64_t xxh3_64_avx2(const void* bytes, size_t size) {
  return XXH3_64bits(bytes, size);
}

}  // namespace sluice
#endif
