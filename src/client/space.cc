#include "src/client/space.h"

#include <algorithm>
#include <utility>

#include "src/client/encoded_page.h"
#include "src/client/profile_transfer.h"
#include "src/client/put_window.h"

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
  SLUICE_TRY(Opened open, opened());
  SLUICE_TRY(const size_t readable_keys, readable_by_now(keys));
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

size_t Space::readable(std::span<const Hash32> keys) const {
  const auto found = std::find_if(
      keys.begin(), keys.end(), [&](const Hash32& key) { return unreadable_.contains(key); });
  return static_cast<size_t>(found - keys.begin());
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

// Into encoded_. f32 that is not exactly f16 or bf16 has no exact row: such a page is stored
// without loss alone, as is every page where no profile fits.
Result<size_t> Space::encode(const Hash32& key, uint32_t page_index, ByteSpan tensors) {
  codec::PageSpec spec;
  spec.page_key = key;
  spec.provenance_kl = quality_.worst_kl;
  spec.first_position = uint64_t{page_index} * geometry_.n_tokens;
  spec.geometry = geometry_;
  const bool has_profile = put_rows_.profile != nullptr && offered_generation_ != 0;
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
  uint32_t known = 0;
  if (ack == transport::Ack::ram) {
    SLUICE_TRY(known, lookup(chain.keys, std::max(quality_.worst_kl, encoded_kl())));
  }
  out.pages_kept += known;
  SLUICE_CHECK(offer_put_profile());
  PutWindow window(*this, ack, [&](const SentPage& page, const Result<bool>& taken) -> Status {
    if (taken.has_error()) {
      if (taken.error().code == Errc::not_found) {
        offered_generation_ = 0;  // the daemon lost the profile, or is another one
      }
      return SLUICE_ERR(taken.error().code,
                        "page {} of the sequence, {}: {}",
                        chain.first_page + page.index,
                        to_hex(chain.keys[page.index]),
                        taken.error().text);
    }
    unreadable_.erase(chain.keys[page.index]);
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

// Once a connection: the daemon behind a new one may be another. Also where all pages are there:
// it may have lost their profile.
Status Space::offer_put_profile() {
  if (put_rows_.profile == nullptr) {
    return {};
  }
  SLUICE_CHECK(opened());
  if (offered_generation_ == generation_) {
    return {};
  }
  offered_generation_ = 0;
  Status offered = offer_profiles(client_, {put_rows_.profile->digest});
  if (offered.has_value()) {
    offered_generation_ = generation_;
    return {};
  }
  const Errc code = offered.error().code;
  return code == Errc::no_space || code == Errc::io_error ? Status() : std::move(offered);
}

// Takes a profile that a page names from the daemon, if that has it, whole.
Status Space::fetch_profile(const Hash32& digest) {
  if (fetched_.contains(digest)) {
    return {};
  }
  const Result<Bytes> file = get_profile(client_, digest);
  if (file.has_error()) {
    const Errc code = file.error().code;
    return code == Errc::not_found || code == Errc::damaged ? Status() : Status(file.error());
  }
  if (fetched_.size() == kFetchedMax) {
    fetched_.erase(fetched_.begin());
  }
  Result<codec::Profile> profile = codec::parse_profile(*file, parsed_.rope.pairing);
  const bool fits = profile.has_value() && codec::check_profile(*profile, parsed_).has_value();
  fetched_[digest] = fits ? std::optional(*std::move(profile)) : std::nullopt;
  ++fetches_;
  return {};
}

// Bounded, since a client that only reads never takes one out.
void Space::note_unreadable(std::span<const Hash32> keys, const Hash32& profile) {
  constexpr size_t kUnreadableMax = size_t{4} * kKeysMax;
  if (unreadable_.size() + keys.size() > kUnreadableMax) {
    unreadable_.clear();
  }
  for (const Hash32& key : keys) {
    unreadable_[key] = profile;
  }
}

// readable(), after the daemon was asked once more for the profile of the first that is not.
Result<size_t> Space::readable_by_now(std::span<const Hash32> keys) {
  const size_t before = readable(keys);
  if (before == keys.size()) {
    return before;
  }
  const Hash32 digest = unreadable_.at(keys[before]);
  SLUICE_CHECK(fetch_profile(digest));
  if (profile(digest) == nullptr) {
    return before;
  }
  std::erase_if(unreadable_, [&](const auto& page) { return page.second == digest; });
  return readable(keys);
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
