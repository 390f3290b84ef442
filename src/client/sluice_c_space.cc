// sluice.h, "Space": canonical pages by key.
#include "src/client/abi_support.h"

using sluice::ByteSpan;
using sluice::Errc;
using sluice::Hash32;
using sluice::MutByteSpan;
using sluice::Result;
using sluice::Status;
using sluice::client::abi_guarded;
using sluice::client::abi_read_keys;
using sluice::client::abi_transfer;
using sluice::client::abi_write_keys;

namespace {

// Pages that lie next to each other in the caller's buffer.
class ContiguousTarget final : public sluice::client::PageTarget {
 public:
  ContiguousTarget(MutByteSpan bytes, size_t page_bytes, uint32_t first_page)
      : bytes_(bytes), page_bytes_(page_bytes), first_page_(first_page) {}

  MutByteSpan tensors(uint32_t page) override {
    return bytes_.subspan((page - first_page_) * page_bytes_, page_bytes_);
  }

  Status done(uint32_t) override { return {}; }

 private:
  MutByteSpan bytes_;
  size_t page_bytes_;
  uint32_t first_page_;
};

Status check_pages(uint32_t first_page, size_t n_keys) {
  if (n_keys > UINT32_MAX - first_page) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "{} pages from page {} on go beyond page {}",
                      n_keys,
                      first_page,
                      UINT32_MAX);
  }
  return {};
}

Status check_tensor_bytes(size_t page_bytes, size_t n_keys, size_t bytes, Errc code) {
  if (bytes / page_bytes < n_keys) {
    return SLUICE_ERR(
        code, "{} pages of {} bytes do not fit {} bytes of tensors", n_keys, page_bytes, bytes);
  }
  return {};
}

// Keys in the caller's memory, which lie behind one another in a chain.
struct CallerKeys {
  const uint8_t* keys = nullptr;
  size_t count = 0;
  uint32_t first_page = 0;
};

// Gets pages, or layers of them, into the caller's buffer.
Status get_pages(sluice::client::Space& space,
                 const CallerKeys& keys,
                 const sluice::client::Wanted& wanted,
                 MutByteSpan tensors,
                 sluice_transfer* out) {
  *out = {};
  SLUICE_CHECK(check_pages(keys.first_page, keys.count));
  const uint32_t layers = space.page_geometry().layers;
  const uint32_t got = wanted.layers == 0 ? layers : wanted.layers;
  const size_t page_bytes = space.page_bytes() / layers * got;
  SLUICE_CHECK(check_tensor_bytes(page_bytes, keys.count, tensors.size(), Errc::output_too_small));
  ContiguousTarget target(tensors, page_bytes, keys.first_page);
  const std::vector<Hash32> chain = abi_read_keys(keys.keys, keys.count);
  sluice::client::Transfer moved;
  SLUICE_TRY(size_t whole,
             space.get({.keys = chain, .first_page = keys.first_page}, wanted, target, moved));
  moved.pages = static_cast<uint32_t>(whole);  // what lies behind a missing page is of no use
  *out = abi_transfer(moved, static_cast<uint32_t>(whole) * space.page_geometry().n_tokens);
  return {};
}

}  // namespace

extern "C" {

int sluice_level_kl(sluice_client* client,
                    const uint8_t* descriptor,
                    size_t descriptor_bytes,
                    const char* level,
                    uint32_t* kl_out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(client);
    SLUICE_REQUIRE(descriptor);
    SLUICE_REQUIRE(level);
    SLUICE_REQUIRE(kl_out);
    SLUICE_TRY(auto parsed, sluice::parse_descriptor(ByteSpan(descriptor, descriptor_bytes)));
    SLUICE_TRY(*kl_out, client->client->profiles.level_kl(parsed, level));
    return {};
  });
}

int sluice_space_open(sluice_client* client,
                      const uint8_t* descriptor,
                      size_t descriptor_bytes,
                      uint32_t worst_kl,
                      uint32_t put_kl,
                      uint32_t exact_row,
                      sluice_space** out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(out);
    *out = nullptr;
    SLUICE_REQUIRE(client);
    SLUICE_REQUIRE(descriptor);
    SLUICE_TRY(auto quality, sluice::client::abi_quality(worst_kl, put_kl, exact_row));
    SLUICE_TRY(auto space,
               sluice::client::Space::open(
                   *client->client, ByteSpan(descriptor, descriptor_bytes), quality));
    *out = new sluice_space{std::move(space)};
    return {};
  });
}

void sluice_space_free(sluice_space* space) {
  delete space;
}

size_t sluice_space_page_bytes(const sluice_space* space) {
  return space == nullptr ? 0 : space->space->page_bytes();
}

uint32_t sluice_space_encoded_kl(const sluice_space* space) {
  return space == nullptr ? 0 : space->space->encoded_kl();
}

int sluice_space_keys(const sluice_space* space,
                      const uint32_t* tokens,
                      size_t n_tokens,
                      uint8_t* keys_out,
                      size_t n_keys_cap,
                      size_t* n_keys_out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(space);
    SLUICE_REQUIRE(tokens);
    SLUICE_REQUIRE(keys_out);
    SLUICE_REQUIRE(n_keys_out);
    return abi_write_keys(space->space->keys({tokens, n_tokens}), keys_out, n_keys_cap, n_keys_out);
  });
}

int sluice_space_lookup(
    sluice_space* space, const uint8_t* keys, size_t n_keys, uint32_t max_kl, uint32_t* pages_out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(space);
    SLUICE_REQUIRE(keys);
    SLUICE_REQUIRE(pages_out);
    SLUICE_TRY(*pages_out, space->space->lookup(abi_read_keys(keys, n_keys), max_kl));
    return {};
  });
}

int sluice_space_fit(sluice_space* space,
                     const uint8_t* keys,
                     size_t n_keys,
                     uint32_t max_kl,
                     uint64_t budget_bytes,
                     sluice_fit* out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(space);
    SLUICE_REQUIRE(keys);
    SLUICE_REQUIRE(out);
    SLUICE_TRY(auto fit, space->space->fit(abi_read_keys(keys, n_keys), max_kl, budget_bytes));
    *out = sluice::client::abi_fit(fit);
    return {};
  });
}

int sluice_space_put(sluice_space* space,
                     const uint8_t* keys,
                     size_t n_keys,
                     uint32_t first_page,
                     const uint8_t* anchor,
                     const void* tensors,
                     size_t tensor_bytes,
                     uint32_t ack,
                     sluice_transfer* out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(space);
    SLUICE_REQUIRE(keys);
    SLUICE_REQUIRE(tensors);
    SLUICE_REQUIRE(out);
    *out = {};
    SLUICE_TRY(auto wire_ack, sluice::client::abi_ack(ack));
    SLUICE_CHECK(check_pages(first_page, n_keys));
    sluice::client::Space& own = *space->space;
    SLUICE_CHECK(
        check_tensor_bytes(own.page_bytes(), n_keys, tensor_bytes, Errc::invalid_argument));
    std::vector<Hash32> chain = abi_read_keys(keys, n_keys);
    std::vector<Hash32> anchors = chain;
    anchors.insert(anchors.begin(),
                   anchor == nullptr ? Hash32{} : abi_read_keys(anchor, 1).front());
    anchors.pop_back();
    const auto* bytes = static_cast<const uint8_t*>(tensors);
    auto load = [&](uint32_t page) -> Result<ByteSpan> {
      return ByteSpan(bytes + (page - first_page) * own.page_bytes(), own.page_bytes());
    };
    sluice::client::Transfer moved;
    Status done =
        own.put({.keys = chain, .first_page = first_page}, anchors, load, wire_ack, moved);
    *out = abi_transfer(moved, (moved.pages + moved.pages_kept) * own.page_geometry().n_tokens);
    return done;
  });
}

int sluice_space_get(sluice_space* space,
                     const uint8_t* keys,
                     size_t n_keys,
                     uint32_t first_page,
                     uint32_t max_kl,
                     void* tensors,
                     size_t tensor_bytes,
                     sluice_transfer* out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(space);
    SLUICE_REQUIRE(keys);
    SLUICE_REQUIRE(tensors);
    SLUICE_REQUIRE(out);
    return get_pages(*space->space,
                     {.keys = keys, .count = n_keys, .first_page = first_page},
                     {.max_kl = max_kl},
                     {static_cast<uint8_t*>(tensors), tensor_bytes},
                     out);
  });
}

int sluice_space_get_layers(sluice_space* space,
                            const uint8_t* keys,
                            size_t n_keys,
                            uint32_t first_page,
                            uint32_t max_kl,
                            uint32_t first_layer,
                            uint32_t n_layers,
                            void* tensors,
                            size_t tensor_bytes,
                            sluice_transfer* out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(space);
    SLUICE_REQUIRE(keys);
    SLUICE_REQUIRE(tensors);
    SLUICE_REQUIRE(out);
    const uint32_t layers = space->space->page_geometry().layers;
    if (n_layers == 0 || n_layers > layers) {
      return SLUICE_ERR(Errc::invalid_argument, "{} layers of pages of {}", n_layers, layers);
    }
    return get_pages(*space->space,
                     {.keys = keys, .count = n_keys, .first_page = first_page},
                     {.max_kl = max_kl, .first_layer = first_layer, .layers = n_layers},
                     {static_cast<uint8_t*>(tensors), tensor_bytes},
                     out);
  });
}

}  // extern "C"
