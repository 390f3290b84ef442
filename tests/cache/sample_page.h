// Descriptors and whole pages of a small model, for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>

#include "codec/codec.h"
#include "src/base/prng.h"
#include "src/model/descriptor.h"

namespace sluice::cache {

// Four layers of one head: at 512 tokens one layer is one section a plane, so that layer ranges
// have something to cut; at 32 tokens a page has one section a plane.
inline Descriptor sample_descriptor(uint32_t page_tokens = 32) {
  Descriptor descriptor;
  descriptor.model_digest.fill(0x11);
  descriptor.layers = {0, 1, 2, 3};
  descriptor.heads = 1;
  descriptor.planes = {{PlaneRole::k, DType::f16, 1, 64, 0}, {PlaneRole::v, DType::f16, 1, 64, 0}};
  descriptor.page_tokens = page_tokens;
  return descriptor;
}

inline Bytes bytes_of(const Descriptor& descriptor) {
  Result<Bytes> bytes = encode_descriptor(descriptor);
  EXPECT_TRUE(bytes.has_value()) << bytes.error().to_string();
  return *std::move(bytes);
}

inline Hash32 page_key_of(uint64_t number) {
  Hash32 key{};
  store_le<uint64_t>(key.data(), number);
  return key;
}

struct PageOptions {
  codec::Encoding encoding = codec::Encoding::direct;
  uint32_t provenance_kl = 0;
  uint64_t seed = 1;
  uint64_t first_position = 0;
  uint32_t values = 256;  // so many different ones
};

// A whole page of `geometry` under `key`, f16 values near 1 that `direct` shrinks.
inline Bytes make_page(const PageGeometry& geometry, const Hash32& key, PageOptions options = {}) {
  Prng prng(options.seed);
  Bytes tensors(geometry.bytes());
  for (size_t i = 0; i + 1 < tensors.size(); i += 2) {
    store_le<uint16_t>(tensors.data() + i,
                       static_cast<uint16_t>(0x3c00 + prng.below(options.values)));
  }
  codec::Workspace workspace;
  Bytes page(*codec::encode_bound(geometry));
  Result<size_t> bytes = codec::encode_page({.page_key = key,
                                             .encoding = options.encoding,
                                             .provenance_kl = options.provenance_kl,
                                             .first_position = options.first_position,
                                             .geometry = geometry},
                                            tensors,
                                            page,
                                            workspace);
  EXPECT_TRUE(bytes.has_value()) << bytes.error().to_string();
  page.resize(*bytes);
  return page;
}

}  // namespace sluice::cache
