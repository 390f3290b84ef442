#include "src/client/space.h"

#include <algorithm>
#include <utility>

#include "src/client/encoded_page.h"

namespace sluice::client {

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

Result<transport::LookupReply> Space::look_up(std::span<const Hash32> keys, uint32_t max_kl) {
  SLUICE_TRY(const size_t readable_keys, readable(keys));
  SLUICE_TRY(Opened open, opened());
  const bool cut = readable_keys < keys.size();
  keys = keys.first(readable_keys);
  transport::LookupRequest request;
  request.max_kl = max_kl;
  request.groups.push_back(
      {.handle = open.handle, .window_pages = 0, .keys = {keys.begin(), keys.end()}});
  SLUICE_TRY(transport::LookupReply reply, open.requester->lookup(request, client_.call_options()));
  const bool all = reply.common_pages == keys.size();
  client_.miss_reason = cut && all ? kUnreadable : reply.miss_reason;
  if (reply.common_pages > keys.size() || reply.groups.size() != 1 ||
      reply.groups[0].pages.size() != reply.common_pages) {
    return SLUICE_ERR(Errc::protocol_error,
                      "LOOKUP of {} pages answered with {}",
                      keys.size(),
                      reply.common_pages);
  }
  return reply;
}

Result<uint32_t> Space::lookup(std::span<const Hash32> keys, uint32_t max_kl) {
  Client::Call call(client_);
  SLUICE_TRY(const transport::LookupReply reply, look_up(keys, max_kl));
  return reply.common_pages;
}

Result<Fit> Space::fit(std::span<const Hash32> keys, uint32_t max_kl, uint64_t budget_bytes) {
  Client::Call call(client_);
  auto ask = [&](uint32_t pages, uint32_t kl) -> Result<Served> {
    SLUICE_TRY(const transport::LookupReply reply, look_up(keys.first(pages), kl));
    return served(reply);
  };
  SLUICE_TRY(const Fit fit,
             fit_bytes(static_cast<uint32_t>(keys.size()),
                       std::min(max_kl, quality_.worst_kl),
                       budget_bytes,
                       ask));
  if (fit.pages != 0) {
    client_.miss_reason.clear();  // of a finer level that nothing has
  }
  return fit;
}

// What is computed on a page is stored as no better than worst_kl, so no worse one may be loaded.
Status Space::check_quality(uint32_t max_kl) const {
  if (max_kl > quality_.worst_kl) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "pages of up to {} micro-nats asked for in a space opened for at most {}: "
                      "what is computed on them would be stored as better than it is; open the "
                      "space with that worst_kl",
                      max_kl,
                      quality_.worst_kl);
  }
  return {};
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
