// A workspace that has seen a page allocates nothing more for sections: a page of many has as many
// allocations as one of few, those of its header and of its comparison with a profile.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/codec/sample_kv.h"
#include "tests/codec/sample_profile.h"

namespace {
std::atomic<size_t> allocations{0};
}  // namespace

void* operator new(size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  return memory != nullptr ? memory : throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace sluice::codec {
namespace {

struct Counts {
  size_t encode = 0;
  size_t decode = 0;

  bool operator==(const Counts&) const = default;
};

// Of the second round with one workspace.
Counts counts_of(Encoding encoding, uint32_t layers) {
  const PageGeometry geometry = kv_geometry(DType::bf16, layers, 64, 4, 128);
  Profile profile = sample_profile(geometry, RopePairing::neox, 1);
  add_basis(profile, profile_layout::kGivens, 1);
  profile = parsed(profile, RopePairing::neox);
  const PageSpec spec{.encoding = encoding,
                      .geometry = geometry,
                      .profile = &profile,
                      .exact_row = encoding == Encoding::progressive};
  const Bytes tensors = tensors_of(profile, geometry, 0, 1);
  Bytes page(encode_bound(geometry, kRowsMax).value()), out(geometry.bytes());
  Workspace workspace;
  Counts counts;
  for (int round = 0; round < 2; ++round) {
    size_t before = allocations;
    const size_t bytes = encode_page(spec, tensors, page, workspace).value();
    counts.encode = allocations - before;
    const PageHeader header = parse_page_header(page).value();
    before = allocations;
    EXPECT_TRUE(
        decode_page(header, ByteSpan(page).first(bytes), out, workspace, &profile).has_value());
    counts.decode = allocations - before;
    EXPECT_GE(header.layer_groups(), layers / 2);
  }
  return counts;
}

TEST(Allocations, DoNotDependOnSections) {
  for (Encoding encoding : {Encoding::direct, Encoding::progressive}) {
    EXPECT_EQ(counts_of(encoding, 2), counts_of(encoding, 12)) << int(encoding);
  }
}

}  // namespace
}  // namespace sluice::codec
