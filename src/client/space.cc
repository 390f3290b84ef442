#include "src/client/space.h"

#include <algorithm>
#include <utility>

#include "src/client/encoded_page.h"
#include "src/client/put_window.h"

namespace sluice::client {
namespace {

// Levels that a fit tries: pages of one profile have four. Each costs a round trip.
constexpr int kFitStepsMax = 6;

uint64_t stored_bytes(std::span<const transport::LookupPage> pages) {
  uint64_t bytes = 0;
  for (const transport::LookupPage& page : pages) {
    bytes += page.stored_bytes;
  }
  return bytes;
}

uint32_t worst_kl(std::span<const transport::LookupPage> pages) {
  uint32_t worst = 0;
  for (const transport::LookupPage& page : pages) {
    worst = std::max(worst, page.kl);
  }
  return worst;
}

}  // namespace

Space::Space(Client& client, Bytes descriptor, Quality quality)
    : client_(client),
      descriptor_(std::move(descriptor)),
      id_(space_id(descriptor_)),
      quality_(quality) {}

Result<std::unique_ptr<Space>> Space::open(Client& client, ByteSpan descriptor, Quality quality) {
  SLUICE_TRY(Descriptor parsed, parse_descriptor(descriptor));
  std::unique_ptr<Space> space(
      new Space(client, Bytes(descriptor.begin(), descriptor.end()), quality));
  space->parsed_ = std::move(parsed);
  space->geometry_ = geometry(space->parsed_);
  space->profiles_ = client.profiles.fitting(space->parsed_);
  space->put_rows_ = best_rows(space->profiles_, quality.put_kl);
  SLUICE_TRY(uint64_t bound, codec::encode_bound(space->geometry_, codec::kRowsMax));
  space->encoded_.resize(bound);
  SLUICE_CHECK(space->handle());
  return space;
}

std::vector<Hash32> Space::keys(std::span<const uint32_t> tokens) const {
  return page_keys(id_, tokens, parsed_.page_tokens);
}

Result<uint32_t> Space::handle() {
  Client::Call call(client_);
  SLUICE_TRY(Opened open, opened());
  return open.handle;
}

Result<Space::Opened> Space::opened() {
  SLUICE_TRY(std::shared_ptr<transport::Requester> requester, client_.requester());
  if (generation_ != client_.generation()) {
    transport::OpenRequest request{.worst_kl = quality_.worst_kl, .descriptor = descriptor_};
    SLUICE_TRY(transport::OpenReply reply, requester->open(request, client_.call_options()));
    if (reply.space_id != id_) {
      return SLUICE_ERR(
          Errc::identity_mismatch,
          "the daemon names the space {}, this library {}; nothing is stored or loaded",
          to_hex(reply.space_id),
          to_hex(id_));
    }
    handle_ = reply.handle;
    generation_ = client_.generation();
  }
  return Opened{std::move(requester), handle_};
}

Result<std::vector<transport::LookupPage>> Space::look_up(std::span<const Hash32> keys,
                                                          uint32_t max_kl) {
  SLUICE_TRY(Opened open, opened());
  transport::LookupRequest request;
  request.max_kl = max_kl;
  request.groups.push_back(
      {.handle = open.handle, .window_pages = 0, .keys = {keys.begin(), keys.end()}});
  SLUICE_TRY(transport::LookupReply reply, open.requester->lookup(request, client_.call_options()));
  client_.miss_reason = reply.miss_reason;
  if (reply.common_pages > keys.size() || reply.groups.size() != 1 ||
      reply.groups[0].pages.size() != reply.common_pages) {
    return SLUICE_ERR(Errc::protocol_error,
                      "LOOKUP of {} pages answered with {}",
                      keys.size(),
                      reply.common_pages);
  }
  return std::move(reply.groups[0].pages);
}

Result<uint32_t> Space::lookup(std::span<const Hash32> keys, uint32_t max_kl) {
  Client::Call call(client_);
  SLUICE_TRY(const std::vector<transport::LookupPage> pages, look_up(keys, max_kl));
  return static_cast<uint32_t>(pages.size());
}

Result<Fit> Space::fit(std::span<const Hash32> keys, uint32_t max_kl, uint64_t budget_bytes) {
  Client::Call call(client_);
  SLUICE_TRY(std::vector<transport::LookupPage> pages, look_up(keys, max_kl));
  const std::string reason = client_.miss_reason;
  const size_t all = pages.size();
  while (stored_bytes(pages) > budget_bytes) {
    pages.pop_back();
  }
  Fit best{.pages = static_cast<uint32_t>(pages.size()),
           .max_kl = max_kl,
           .stored_bytes = stored_bytes(pages)};
  for (int step = 0; step < kFitStepsMax && best.pages == all && worst_kl(pages) != 0; ++step) {
    // Whatever is of the worst quality has to come finer now.
    const uint32_t finer = worst_kl(pages) - 1;
    SLUICE_TRY(pages, look_up(keys, finer));
    if (pages.size() < all || stored_bytes(pages) > budget_bytes) {
      break;
    }
    best = {.pages = best.pages, .max_kl = finer, .stored_bytes = stored_bytes(pages)};
  }
  client_.miss_reason = reason;
  return best;
}

// Into encoded_. f32 that is not exactly f16 or bf16 has no exact row: such a page is stored
// without loss alone, as is every page where no profile fits.
Result<size_t> Space::encode(const Hash32& key, uint32_t page_index, ByteSpan tensors) {
  codec::PageSpec spec;
  spec.page_key = key;
  spec.provenance_kl = quality_.worst_kl;
  spec.first_position = uint64_t{page_index} * geometry_.n_tokens;
  spec.geometry = geometry_;
  if (put_rows_.profile != nullptr) {
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
  uint32_t known = 0;
  if (ack == transport::Ack::ram) {
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
    SLUICE_TRY(size_t bytes, encode(chain.keys[i], page_index, tensors));
    SLUICE_CHECK(window.send(i, chain.keys[i], anchors[i], ByteSpan(encoded_).first(bytes)));
  }
  return window.finish();
}

Result<uint32_t> Space::erase(std::span<const Hash32> keys) {
  Client::Call call(client_);
  SLUICE_TRY(Opened open, opened());
  const transport::DeleteRequest request{.handle = open.handle, .keys = {keys.begin(), keys.end()}};
  SLUICE_TRY(transport::DeleteReply reply, open.requester->erase(request, client_.call_options()));
  return reply.deleted_pages;
}

Result<Hash32> Space::check_encoded(ByteSpan page) const {
  SLUICE_TRY(codec::PageHeader header, verify_rows(page));
  if (!(header.geometry == geometry_)) {
    return SLUICE_ERR(
        Errc::bad_value,
        "page {} has {} layers of {} tokens, {} bytes of tensors; pages of this space "
        "have {} of {}, {} bytes: it belongs to another space",
        to_hex(header.page_key),
        header.geometry.layers,
        header.geometry.n_tokens,
        header.geometry.bytes(),
        geometry_.layers,
        geometry_.n_tokens,
        geometry_.bytes());
  }
  return header.page_key;
}

}  // namespace sluice::client
