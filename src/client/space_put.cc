// Space::put: pages encoded and sent, those that the daemon lacks.
#include <algorithm>

#include "src/client/put_window.h"
#include "src/client/space.h"

namespace sluice::client {

// Into encoded_. f32 that is not exactly f16 or bf16 has no exact row: such a page is stored
// without loss alone, as is every page where no profile fits, or the daemon has it not.
Result<size_t> Space::encode(const Hash32& key,
                             uint32_t page_index,
                             ByteSpan tensors,
                             bool has_profile) {
  codec::PageSpec spec;
  spec.page_key = key;
  spec.provenance_kl = quality_.worst_kl;
  spec.first_position = uint64_t{page_index} * geometry_.n_tokens;
  spec.geometry = geometry_;
  if (has_profile && !unreadable_.contains(key)) {
    spec.encoding = codec::Encoding::progressive;
    spec.profile = put_rows_.profile;
    spec.lossy_rows = put_rows_.lossy_rows;
    spec.exact_row = quality_.exact_row;
    Result<size_t> bytes = codec::encode_page(spec, tensors, encoded_, workspace_);
    if (bytes.has_value() || !spec.exact_row || bytes.error().code != Errc::unsupported) {
      return bytes;
    }
    spec.encoding = codec::Encoding::direct;
  }
  return codec::encode_page(spec, tensors, encoded_, workspace_);
}

Status Space::put(const Chain& chain,
                  std::span<const Hash32> anchors,
                  const std::function<Result<ByteSpan>(uint32_t page)>& load,
                  transport::Ack ack,
                  Transfer& out) {
  SLUICE_ASSERT(anchors.size() == chain.keys.size());
  Client::Call call(client_);
  SLUICE_TRY(const bool has_profile, offer_put_profile());
  // Without it pages that are there may be coded with it, so that nobody reads them.
  const bool may_keep = has_profile || put_rows_.profile == nullptr;
  uint32_t known = 0;
  if (ack == transport::Ack::ram && may_keep) {
    SLUICE_TRY(known, lookup(chain.keys, std::max(quality_.worst_kl, encoded_kl())));
  }
  out.pages_kept += known;
  PutWindow window(*this, ack, [&](const SentPage& page, const Result<bool>& taken) -> Status {
    if (taken.has_error()) {
      return SLUICE_ERR(taken.error().code,
                        "page {} of the sequence, {}: {}",
                        chain.first_page + page.index,
                        to_hex(chain.keys[page.index]),
                        taken.error().text);
    }
    if (*taken) {
      unreadable_.erase(chain.keys[page.index]);
      ++out.pages;
      out.raw_bytes += page_bytes();
      out.stored_bytes += page.bytes;
    } else {
      ++out.pages_kept;
    }
    return {};
  });
  for (size_t i = known; i < chain.keys.size(); ++i) {
    const uint32_t page_index = chain.first_page + static_cast<uint32_t>(i);
    SLUICE_TRY(ByteSpan tensors, load(page_index));
    SLUICE_TRY(size_t bytes, encode(chain.keys[i], page_index, tensors, has_profile));
    SLUICE_CHECK(window.send(i, chain.keys[i], anchors[i], ByteSpan(encoded_).first(bytes)));
  }
  return window.finish();
}

}  // namespace sluice::client
