// What the transport and load benches send: encoded pages of a model's size, and the speeds of this
// machine beside which their figures stand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codec/page.h"
#include "src/base/bytes.h"
#include "src/base/clock.h"
#include "src/base/result.h"
#include "src/model/descriptor.h"

namespace sluice::bench {

inline constexpr size_t kMessageBytes = 1u << 20;

struct StoredPage {
  Hash32 key{};
  Bytes bytes;
  codec::PageHeader header;
};

// Pages of 64 tokens, 30 layers, 3 heads of 64, f16.
Descriptor sample_descriptor();

// The first pages of a sequence of one token repeated, `direct`, 1.2 MB each.
std::vector<StoredPage> make_pages(const Hash32& space, uint32_t count, uint32_t token = 1);

uint64_t total_bytes(const std::vector<StoredPage>& pages);

// Memory that any of the pages fits in, and a message.
Bytes page_buffer(const std::vector<StoredPage>& pages);

// ---- Ceilings.

// Copies every page into one buffer, as a receiver would.
void copy_all(const std::vector<StoredPage>& pages, Bytes& buffer);

// A child sends every page over a socket pair, in messages of 1 MiB; this process receives.
void raw_loop(const std::vector<StoredPage>& pages, Bytes& buffer);

// Writes every page to a new file of the folder, in messages of 1 MiB with O_DIRECT where that
// works, and syncs. Errors: io_error.
Status write_loop(const std::vector<StoredPage>& pages, const std::string& folder);

// ---- Arithmetic.

double gib_per_second(uint64_t bytes, uint64_t ns);

// Of at least one value.
double median(std::vector<double> values);

template <class Body>
uint64_t time_ns(Body&& body) {
  SteadyClock clock;
  const uint64_t start = clock.now_ns();
  body();
  return clock.now_ns() - start;
}

}  // namespace sluice::bench
