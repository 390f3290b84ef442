#include "src/client/byte_budget.h"

#include <algorithm>

namespace sluice::client {
namespace {

// Levels that are tried: pages of one profile have four. Each costs a round trip.
constexpr int kLevelsMax = 6;

using LookUp = std::function<Result<Served>(uint32_t pages, uint32_t max_kl)>;

// As many pages, fewer than n_pages, as fit: by halving, since pages of windows come and go with
// the length of the prefix.
Result<Served> fit_front(uint32_t n_pages,
                         uint32_t max_kl,
                         uint64_t budget_bytes,
                         const LookUp& look_up) {
  Served best;
  uint32_t above = n_pages;
  while (above - best.pages > 1) {
    const uint32_t tried = best.pages + (above - best.pages) / 2;
    SLUICE_TRY(const Served found, look_up(tried, max_kl));
    if (found.pages < tried || found.stored_bytes > budget_bytes) {
      above = tried;
    } else {
      best = found;
    }
  }
  return best;
}

}  // namespace

Served served(const transport::LookupReply& reply) {
  Served out{.pages = reply.common_pages};
  for (const transport::LookupGroupReply& group : reply.groups) {
    for (const transport::LookupPage& page : group.pages) {
      out.stored_bytes += page.stored_bytes;
      out.worst_kl = std::max(out.worst_kl, page.kl);
    }
  }
  return out;
}

Result<Fit> fit_bytes(uint32_t n_pages,
                      uint32_t max_kl,
                      uint64_t budget_bytes,
                      const LookUp& look_up) {
  if (n_pages == 0) {
    return Fit{.max_kl = max_kl};
  }
  SLUICE_TRY(Served found, look_up(n_pages, max_kl));
  if (found.stored_bytes > budget_bytes) {
    SLUICE_TRY(found, fit_front(found.pages, max_kl, budget_bytes, look_up));
    return Fit{.pages = found.pages, .max_kl = max_kl, .stored_bytes = found.stored_bytes};
  }
  Fit best{.pages = found.pages, .max_kl = max_kl, .stored_bytes = found.stored_bytes};
  for (int level = 0; level < kLevelsMax && found.worst_kl != 0; ++level) {
    // Whatever is of the worst quality has to come finer now.
    const uint32_t finer = found.worst_kl - 1;
    SLUICE_TRY(found, look_up(best.pages, finer));
    if (found.pages < best.pages || found.stored_bytes > budget_bytes) {
      break;
    }
    best = {.pages = best.pages, .max_kl = finer, .stored_bytes = found.stored_bytes};
  }
  return best;
}

}  // namespace sluice::client
