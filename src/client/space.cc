#include "src/client/space.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "src/base/limits.h"
#include "src/client/put_window.h"

namespace sluice::client {
namespace {

// Tensor bytes of one GET: long enough to hide its round trip, short enough that decoding them
// (5-10 ms a MiB and core) stays far from the deadline of the request.
constexpr uint64_t kGetBytes = 32ull << 20;

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

Result<uint32_t> Space::lookup(std::span<const Hash32> keys, uint32_t max_kl) {
  Client::Call call(client_);
  SLUICE_TRY(Opened open, opened());
  transport::LookupRequest request;
  request.max_kl = max_kl;
  request.groups.push_back(
      {.handle = open.handle, .window_pages = 0, .keys = {keys.begin(), keys.end()}});
  SLUICE_TRY(transport::LookupReply reply, open.requester->lookup(request, client_.call_options()));
  client_.miss_reason = reply.miss_reason;
  if (reply.common_pages > keys.size()) {
    return SLUICE_ERR(Errc::protocol_error,
                      "LOOKUP of {} pages answered with {}",
                      keys.size(),
                      reply.common_pages);
  }
  return reply.common_pages;
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
    codec::PageSpec spec;
    spec.page_key = chain.keys[i];
    spec.provenance_kl = quality_.worst_kl;
    if (put_rows_.profile != nullptr) {
      spec.encoding = codec::Encoding::progressive;
      spec.profile = put_rows_.profile;
      spec.lossy_rows = put_rows_.lossy_rows;
    }
    spec.first_position = uint64_t{page_index} * geometry_.n_tokens;
    spec.geometry = geometry_;
    SLUICE_TRY(size_t bytes, codec::encode_page(spec, tensors, encoded_, workspace_));
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

Result<Bytes> Space::get_encoded(const Hash32& key, uint32_t max_kl, codec::EncodingId* named) {
  struct Keep final : transport::PageSink {
    MutByteSpan page_begins(const transport::PageMeta& meta) override {
      encoding_id = meta.encoding_id;
      page.resize(std::min<uint64_t>(meta.page_bytes(), kPageBytesMax));
      return meta.page_bytes() == page.size() ? MutByteSpan(page) : MutByteSpan();
    }

    void page_ends(const transport::PageMeta&) override {}

    void page_missing(const transport::PageMeta& meta) override { status = meta.status; }

    Bytes page;
    codec::EncodingId encoding_id{};
    Errc status = Errc::ok;
  };

  Client::Call call(client_);
  SLUICE_TRY(Opened open, opened());
  transport::GetRequest request;
  request.handle = open.handle;
  request.max_kl = max_kl;
  request.pages.push_back({.key = key, .encoding_id = {}, .first_row = 0});
  Keep keep;
  SLUICE_CHECK(open.requester->get(request, keep, client_.call_options()));
  if (keep.status != Errc::ok) {
    return SLUICE_ERR(keep.status, "the daemon has no page {} to serve", to_hex(key));
  }
  if (named != nullptr) {
    *named = keep.encoding_id;
  }
  return std::move(keep.page);
}

Result<Hash32> Space::check_encoded(ByteSpan page) const {
  SLUICE_TRY(codec::PageHeader header, codec::verify_page(page));
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

// Takes the pages of one GET in, in whatever order they come (one from disk lets others pass),
// checks and decodes each as it ends; the daemon fills the socket's buffer meanwhile.
class Space::Receiver final : public transport::PageSink {
 public:
  Receiver(Space& space, const Chain& chain, uint32_t max_kl, PageTarget& target, Transfer& out)
      : space_(space),
        chain_(chain),
        max_kl_(max_kl),
        target_(target),
        out_(out),
        is_whole_(chain.keys.size()) {}

  MutByteSpan page_begins(const transport::PageMeta& meta) override {
    // What lies behind a page that is missing could not be reached.
    if (meta.page_index >= end_) {
      return {};
    }
    if (meta.page_bytes() > space_.encoded_.size()) {
      refuse(meta);
      return {};
    }
    return MutByteSpan(space_.encoded_).first(meta.page_bytes());
  }

  void page_ends(const transport::PageMeta& meta) override {
    const uint32_t page = chain_.first_page + static_cast<uint32_t>(meta.page_index);
    MutByteSpan tensors = target_.tensors(page);
    Status decoded = decode(meta, tensors);
    if (decoded.has_error()) {
      // Another profile's page is whole: the daemon must not hear that it is damaged.
      return decoded.error().code == Errc::identity_mismatch ? unreadable(meta, decoded.error())
                                                             : refuse(meta);
    }
    Status taken = target_.done(page);
    if (taken.has_error()) {
      result_ = std::move(taken);
      end_ = std::min<size_t>(end_, meta.page_index);
      return;
    }
    is_whole_[meta.page_index] = true;
    ++out_.pages;
    out_.raw_bytes += tensors.size();
    out_.stored_bytes += meta.page_bytes();
    space_.client_.moved(tensors.size());
  }

  void page_missing(const transport::PageMeta& meta) override {
    end_ = std::min<size_t>(end_, meta.page_index);
  }

  // Pages that are whole, from the first on.
  size_t whole() const {
    return static_cast<size_t>(std::find(is_whole_.begin(), is_whole_.end(), false) -
                               is_whole_.begin());
  }

  // A page that was refused, if one was.
  const std::optional<transport::DamagedRequest>& damage_report() const { return damage_report_; }

  Status take_result() { return std::move(result_); }

  // Why a page was whole and could not be read, if one was.
  const std::string& unreadable_reason() const { return unreadable_reason_; }

 private:
  void unreadable(const transport::PageMeta& meta, const Error& error) {
    end_ = std::min<size_t>(end_, meta.page_index);
    unreadable_reason_ = error.text;
  }

  void refuse(const transport::PageMeta& meta) {
    end_ = std::min<size_t>(end_, meta.page_index);
    damage_report_ = {.handle = space_.handle_,
                      .key = chain_.keys[meta.page_index],
                      .encoding_id = meta.encoding_id};
  }

  Status decode(const transport::PageMeta& meta, MutByteSpan tensors) {
    ByteSpan page = ByteSpan(space_.encoded_).first(meta.page_bytes());
    SLUICE_TRY(codec::PageHeader header, codec::parse_page_header(page));
    SLUICE_CHECK(check(header, meta, page));
    const codec::Profile* profile = space_.profile(header.profile_digest);
    return codec::decode_page(header, page, tensors, space_.workspace_, profile);
  }

  // What makes these bytes this page of this space, within what the caller allows.
  Status check(const codec::PageHeader& header,
               const transport::PageMeta& meta,
               ByteSpan page) const {
    const uint64_t position =
        (uint64_t{chain_.first_page} + meta.page_index) * space_.geometry_.n_tokens;
    uint32_t kl = std::max(header.rows.back().kl, header.provenance_kl);
    bool same = header.page_key == chain_.keys[meta.page_index] &&
                header.geometry == space_.geometry_ && header.first_position == position &&
                codec::encoding_id(page.first(header.header_bytes())) == meta.encoding_id;
    if (!same || kl > max_kl_) {
      return SLUICE_ERR(Errc::damaged,
                        "page {} is not what was asked for: position {}, expected {}; quality {} "
                        "micro-nats, at most {}",
                        to_hex(header.page_key),
                        header.first_position,
                        position,
                        kl,
                        max_kl_);
    }
    return {};
  }

  Space& space_;
  const Chain& chain_;
  uint32_t max_kl_;
  PageTarget& target_;
  Transfer& out_;
  std::vector<bool> is_whole_;  // by index in the chain
  size_t end_ = SIZE_MAX;       // index of the first page that is missing or was refused
  std::optional<transport::DamagedRequest> damage_report_;
  std::string unreadable_reason_;
  Status result_;
};

const codec::Profile* Space::profile(const Hash32& digest) const {
  auto found = std::find_if(
      profiles_.begin(), profiles_.end(), [&](const auto& one) { return one.digest == digest; });
  return found == profiles_.end() ? nullptr : &*found;
}

Result<size_t> Space::get_batch(const Chain& chain,
                                uint32_t max_kl,
                                PageTarget& target,
                                Transfer& out) {
  SLUICE_TRY(Opened open, opened());
  transport::GetRequest request;
  request.handle = open.handle;
  request.max_kl = max_kl;
  for (const Hash32& key : chain.keys) {
    request.pages.push_back({.key = key, .encoding_id = {}, .first_row = 0});
  }
  Receiver receiver(*this, chain, max_kl, target, out);
  SLUICE_CHECK(open.requester->get(request, receiver, client_.call_options()));
  if (receiver.damage_report()) {
    ++out.pages_damaged;
    SLUICE_CHECK(open.requester->damaged(*receiver.damage_report(), client_.call_options()));
  }
  if (!receiver.unreadable_reason().empty()) {
    client_.miss_reason = receiver.unreadable_reason();
  }
  SLUICE_CHECK(receiver.take_result());
  return receiver.whole();
}

Result<size_t> Space::get(const Chain& chain, uint32_t max_kl, PageTarget& target, Transfer& out) {
  Client::Call call(client_);
  const size_t step = std::clamp<size_t>(kGetBytes / page_bytes(), 1, kKeysMax);
  size_t whole = 0;
  while (whole < chain.keys.size()) {
    const size_t count = std::min(step, chain.keys.size() - whole);
    const Chain batch{.keys = chain.keys.subspan(whole, count),
                      .first_page = chain.first_page + static_cast<uint32_t>(whole)};
    SLUICE_TRY(size_t more, get_batch(batch, max_kl, target, out));
    whole += more;
    if (more < count) {
      break;
    }
  }
  return whole;
}

}  // namespace sluice::client
