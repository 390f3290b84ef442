// What to get with a budget of bytes: how many pages of a prefix, and at which quality.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "src/base/result.h"
#include "transport/messages.h"

namespace sluice::client {

// What a LOOKUP found.
struct Served {
  uint32_t pages = 0;
  uint32_t worst_kl = 0;  // of any of them
  uint64_t stored_bytes = 0;
};

// Adds up what a reader of the prefix that a reply is about gets, over its groups.
Served served(const transport::LookupReply& reply);

// The best that fits a budget of bytes.
struct Fit {
  uint32_t pages = 0;
  uint32_t max_kl = 0;        // to get them with
  uint64_t stored_bytes = 0;  // that come then
};

// All pages that there are of n_pages within max_kl, at the finest quality at which they fit, tried
// from max_kl on; where they do not even fit at max_kl, as many from the first on as do.
// look_up(pages, max_kl) asks for so many of them. Errors: as look_up.
Result<Fit> fit_bytes(
    uint32_t n_pages,
    uint32_t max_kl,
    uint64_t budget_bytes,
    const std::function<Result<Served>(uint32_t pages, uint32_t max_kl)>& look_up);

}  // namespace sluice::client
