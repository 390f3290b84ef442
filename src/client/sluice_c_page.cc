// sluice.h, "Page": one page as it is stored, refined row by row.
#include <algorithm>

#include "src/client/abi_support.h"

using sluice::Errc;
using sluice::MutByteSpan;
using sluice::Status;
using sluice::client::abi_guarded;
using sluice::client::abi_read_keys;

extern "C" {

int sluice_page_get(sluice_space* space,
                    const uint8_t key[32],
                    uint32_t page_index,
                    uint32_t max_kl,
                    sluice_page** out) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(out);
    *out = nullptr;
    SLUICE_REQUIRE(space);
    SLUICE_REQUIRE(key);
    const sluice::Hash32 own_key = abi_read_keys(key, 1).front();
    SLUICE_TRY(auto encoded, space->space->get_encoded(own_key, max_kl));
    SLUICE_CHECK(sluice::client::encoded_kl(encoded));  // only what says how good it is
    *out = new sluice_page{.space = space->space.get(),
                           .key = own_key,
                           .page_index = page_index,
                           .encoded = std::move(encoded)};
    return {};
  });
}

void sluice_page_free(sluice_page* page) {
  delete page;
}

int sluice_page_refine(sluice_page* page, uint32_t max_kl) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(page);
    return page->space->refine(page->key, max_kl, page->encoded);
  });
}

int sluice_page_decode(sluice_page* page, void* tensors, size_t tensor_bytes) {
  return abi_guarded([&]() -> Status {
    SLUICE_REQUIRE(page);
    SLUICE_REQUIRE(tensors);
    if (tensor_bytes < page->space->page_bytes()) {
      return SLUICE_ERR(Errc::output_too_small,
                        "a page has {} bytes of tensors, there is room for {}",
                        page->space->page_bytes(),
                        tensor_bytes);
    }
    return page->space->decode_encoded(
        page->key, page->page_index, page->encoded, {static_cast<uint8_t*>(tensors), tensor_bytes});
  });
}

uint32_t sluice_page_kl(const sluice_page* page) {
  return page == nullptr ? SLUICE_KL_UNKNOWN : *sluice::client::encoded_kl(page->encoded);
}

uint64_t sluice_page_stored_bytes(const sluice_page* page) {
  return page == nullptr ? 0 : page->encoded.bytes.size();
}

}  // extern "C"
