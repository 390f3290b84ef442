#include "src/model/chain.h"

#include <algorithm>

namespace sluice {
namespace {

// Little-endian hosts only (src/base/bytes.h), so the ids' own bytes are the hashed ones.
ByteSpan token_bytes(std::span<const uint32_t> tokens) {
  return {reinterpret_cast<const uint8_t*>(tokens.data()), tokens.size_bytes()};
}

Bytes extra_bytes(std::span<const ExtraKey> extra) {
  std::vector<const ExtraKey*> sorted;
  sorted.reserve(extra.size());
  for (const ExtraKey& key : extra) {
    sorted.push_back(&key);
  }
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return *a < *b; });
  ByteWriter writer;
  for (const ExtraKey* key : sorted) {
    writer.write(key->id).write(static_cast<uint32_t>(key->bytes.size())).write_bytes(key->bytes);
  }
  return std::move(writer).take();
}

}  // namespace

Hash32 page_key(const Hash32& space,
                const Hash32& parent,
                std::span<const uint32_t> tokens,
                std::span<const ExtraKey> extra) {
  std::array<uint8_t, sizeof(uint32_t)> count;
  store_le(count.data(), static_cast<uint32_t>(tokens.size()));
  Sha256 hash;
  hash.update(as_bytes("sluice page 1")).update(space).update(parent).update(count);
  hash.update(token_bytes(tokens));
  if (!extra.empty()) {
    hash.update(extra_bytes(extra));
  }
  return hash.finish();
}

std::vector<Hash32> page_keys(const Hash32& space,
                              std::span<const uint32_t> tokens,
                              uint32_t page_tokens,
                              std::span<const std::vector<ExtraKey>> extra_by_page) {
  std::vector<Hash32> keys;
  keys.reserve(tokens.size() / page_tokens);
  Hash32 parent = kRootKey;
  for (size_t page = 0; page < tokens.size() / page_tokens; ++page) {
    std::span<const ExtraKey> extra;
    if (page < extra_by_page.size()) {
      extra = extra_by_page[page];
    }
    parent = page_key(space, parent, tokens.subspan(page * page_tokens, page_tokens), extra);
    keys.push_back(parent);
  }
  return keys;
}

Descriptor self_test_descriptor() {
  Descriptor d;
  for (size_t i = 0; i < d.model_digest.size(); ++i) {
    d.model_digest[i] = static_cast<uint8_t>(i);
  }
  d.lora_digest.emplace().fill(0xa5);
  d.user_salt = {'s', 'a', 'l', 't'};
  d.compute_dtype = DType::bf16;
  d.runtime_quantisation = "fp8";
  d.kv_scales = {0.5f, 0.25f, 1.5f, 2.0f};
  d.attention = AttentionKind::window;
  d.window = 512;
  d.layers = {1, 3};
  d.first_head = 2;
  d.heads = 2;
  d.planes = {{PlaneRole::k, DType::f8_e4m3, 2, 128, 96}, {PlaneRole::v, DType::f16, 2, 64, 0}};
  d.rope.pairing = RopePairing::interleaved;
  d.rope.base = 500000.0;
  d.rope.scaling = RopeScaling::llama3;
  d.rope.factor = 8.0;
  d.rope.original_context = 8192;
  d.rope.low = 1.0;
  d.rope.high = 4.0;
  d.page_tokens = 32;
  return d;
}

Hash32 chain_self_test() {
  Result<Bytes> bytes = encode_descriptor(self_test_descriptor());
  SLUICE_ASSERT(bytes.has_value());
  std::vector<uint32_t> tokens(64);
  for (uint32_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = i * 2654435761u;  // all four bytes vary
  }
  std::vector<std::vector<ExtraKey>> extra = {{},
                                              {{2, Bytes{'b'}}, {1, Bytes{'a', 0}}, {2, Bytes{}}}};
  return page_keys(space_id(*bytes), tokens, 32, extra).back();
}

}  // namespace sluice
