// Receives the pages of a GET into vectors, for tests.
#pragma once

#include <map>

#include "transport/requester.h"

namespace sluice::transport {

struct MemorySink final : PageSink {
  MutByteSpan page_begins(const PageMeta& meta) override {
    if (meta.page_index == pass_over) {
      return {};
    }
    Bytes& page = pages[meta.page_index];
    page.resize(meta.page_bytes() - short_by);
    return page;
  }

  void page_ends(const PageMeta&) override { ++ended; }

  void page_missing(const PageMeta& meta) override { missing[meta.page_index] = meta.status; }

  std::map<uint32_t, Bytes> pages;
  std::map<uint32_t, Errc> missing;
  size_t ended = 0;
  uint32_t pass_over = UINT32_MAX;
  size_t short_by = 0;
};

}  // namespace sluice::transport
