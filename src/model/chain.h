// Page keys: each commits to its space and to all tokens before it (IDENTITY.md, "Page key").
// Pure functions, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/model/descriptor.h"

namespace sluice {

// What decides a page beside its tokens: hashes of images with their offsets, digests of prompt
// embeddings. Ids are given out in IDENTITY.md.
struct ExtraKey {
  uint16_t id = 0;
  Bytes bytes;

  auto operator<=>(const ExtraKey&) const = default;
};

// The parent of the first page.
inline constexpr Hash32 kRootKey{};

// SHA-256("sluice page 1" || space_id || parent || n_tokens u32 || token ids u32 || extra keys).
// The order of `extra` does not matter: it is hashed sorted by id, then bytes.
Hash32 page_key(const Hash32& space,
                const Hash32& parent,
                std::span<const uint32_t> tokens,
                std::span<const ExtraKey> extra = {});

// Keys of the full pages of a sequence from position 0: tokens.size() / page_tokens of them.
// extra_by_page[i] belongs to page i; pages beyond its end have none. Requires: page_tokens > 0.
std::vector<Hash32> page_keys(const Hash32& space,
                              std::span<const uint32_t> tokens,
                              uint32_t page_tokens,
                              std::span<const std::vector<ExtraKey>> extra_by_page = {});

// The descriptor of the self-test: every field differs from its default.
Descriptor self_test_descriptor();

// The self-test vector that both ends of a connection compare: the key of the second page of 64
// fixed tokens under self_test_descriptor(). Computed anew on each call, so that it tests this
// machine. Source: IDENTITY.md, "Self-test"; golden: tests/golden/model/self_test.json.
Hash32 chain_self_test();

}  // namespace sluice
