// Space::get: pages of a chain, or layers of them, checked and decoded as they come.
#include <algorithm>
#include <optional>
#include <utility>

#include "src/base/limits.h"
#include "src/client/space.h"

namespace sluice::client {
namespace {

// Tensor bytes of one GET: long enough to hide its round trip, short enough that decoding them
// (1-3 ms a MiB and core) stays far from the deadline of the request.
constexpr uint64_t kGetBytes = 32ull << 20;

// Bytes of the sections that hold these layers, of the first rows.
Result<uint64_t> body_bytes(const codec::PageHeader& header,
                            uint32_t rows,
                            uint32_t first_layer,
                            uint32_t layers) {
  uint64_t bytes = 0;
  for (uint32_t row = 0; row < rows; ++row) {
    SLUICE_TRY(auto range, codec::select_sections(header, row, first_layer, layers));
    bytes += range.bytes;
  }
  return bytes;
}

}  // namespace

// Takes the pages of one GET in, in whatever order they come (one from disk lets others pass),
// checks and decodes each as it ends; the daemon fills the socket's buffer meanwhile.
class Space::Receiver final : public transport::PageSink {
 public:
  Receiver(
      Space& space, const Chain& chain, const Wanted& wanted, PageTarget& target, Transfer& out)
      : space_(space),
        chain_(chain),
        wanted_(wanted),
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
    const Arrived arrived{.key = chain_.keys[meta.page_index],
                          .page_index = page,
                          .encoding_id = meta.encoding_id,
                          .rows = meta.rows,
                          .bytes = ByteSpan(space_.encoded_).first(meta.page_bytes())};
    Status decoded = space_.decode(arrived, wanted_, tensors);
    if (decoded.has_error()) {
      // Another profile's page is whole: the daemon must not hear that it is damaged.
      return decoded.error().code == Errc::identity_mismatch
                 ? unreadable(meta, arrived.bytes, decoded.error())
                 : refuse(meta);
    }
    Status taken = target_.done(page);
    if (taken.has_error()) {
      result_ = std::move(taken);
      end_ = std::min<size_t>(end_, meta.page_index);
      return;
    }
    is_whole_[meta.page_index] = true;
    space_.unreadable_.erase(chain_.keys[meta.page_index]);
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
  const std::optional<transport::PageMeta>& damaged() const { return damaged_; }

  Status take_result() { return std::move(result_); }

  // A page that is whole and coded with a profile that is not there.
  struct Unreadable {
    size_t page_index = 0;  // in the chain
    Hash32 profile{};
    std::string reason;
  };

  // The first of them, if one came.
  const std::optional<Unreadable>& unreadable() const { return unreadable_; }

 private:
  void unreadable(const transport::PageMeta& meta, ByteSpan page, const Error& error) {
    end_ = std::min<size_t>(end_, meta.page_index);
    if (!unreadable_ || meta.page_index < unreadable_->page_index) {
      unreadable_ = {.page_index = meta.page_index,
                     .profile = codec::parse_page_header(page)->profile_digest,
                     .reason = error.text};
    }
  }

  void refuse(const transport::PageMeta& meta) {
    end_ = std::min<size_t>(end_, meta.page_index);
    damaged_ = meta;
  }

  Space& space_;
  const Chain& chain_;
  const Wanted wanted_;
  PageTarget& target_;
  Transfer& out_;
  std::vector<bool> is_whole_;  // by index in the chain
  size_t end_ = SIZE_MAX;       // index of the first page that is missing or was refused
  std::optional<transport::PageMeta> damaged_;
  std::optional<Unreadable> unreadable_;
  Status result_;
};

// What makes these bytes this page of this space, within what the caller allows.
Status Space::check(const codec::PageHeader& header,
                    const Arrived& page,
                    const Wanted& wanted) const {
  const uint64_t position = uint64_t{page.page_index} * geometry_.n_tokens;
  const bool same = header.page_key == page.key && header.geometry == geometry_ &&
                    header.first_position == position && page.rows >= 1 &&
                    page.rows <= header.rows.size() &&
                    codec::encoding_id(page.bytes.first(header.header_bytes())) == page.encoding_id;
  if (!same || std::max(header.rows[page.rows - 1].kl, header.provenance_kl) > wanted.max_kl) {
    return SLUICE_ERR(Errc::damaged,
                      "page {} is not what was asked for: position {}, expected {}; {} rows, "
                      "provenance {}, for at most {} micro-nats",
                      to_hex(header.page_key),
                      header.first_position,
                      position,
                      page.rows,
                      header.provenance_kl,
                      wanted.max_kl);
  }
  return {};
}

// More layers may have come than are wanted: sections are never cut.
Status Space::decode(const Arrived& page, const Wanted& wanted, MutByteSpan tensors) {
  SLUICE_TRY(codec::PageHeader header, codec::parse_page_header(page.bytes));
  SLUICE_CHECK(check(header, page, wanted));
  const uint32_t layers = wanted.layers == 0 ? geometry_.layers : wanted.layers;
  SLUICE_TRY(auto range, codec::select_sections(header, 0, wanted.first_layer, layers));
  const ByteSpan body = page.bytes.subspan(header.header_bytes());
  SLUICE_TRY(uint64_t expected, body_bytes(header, page.rows, wanted.first_layer, layers));
  if (body.size() != expected) {
    return SLUICE_ERR(Errc::damaged,
                      "page {}: {} bytes of rows, expected {}",
                      to_hex(page.key),
                      body.size(),
                      expected);
  }
  const bool is_rounded = range.layers != layers;
  const size_t layer_bytes = page_bytes() / geometry_.layers;
  rounded_.resize(is_rounded ? range.layers * layer_bytes : 0);
  SLUICE_CHECK(codec::decode_layers(header,
                                    page.rows,
                                    wanted.first_layer,
                                    layers,
                                    body,
                                    is_rounded ? MutByteSpan(rounded_) : tensors,
                                    workspace_,
                                    profile(header.profile_digest)));
  if (is_rounded) {
    const size_t skipped = (wanted.first_layer - range.first_layer) * layer_bytes;
    std::copy_n(
        rounded_.begin() + static_cast<ptrdiff_t>(skipped), layers * layer_bytes, tensors.begin());
  }
  return {};
}

Status Space::report_damage(const Hash32& key, const codec::EncodingId& encoding_id) {
  SLUICE_TRY(Opened open, opened());
  const transport::DamagedRequest request{
      .handle = open.handle, .key = key, .encoding_id = encoding_id};
  SLUICE_CHECK(open.requester->damaged(request, client_.call_options()));
  return {};
}

Result<size_t> Space::get_batch(const Chain& chain,
                                const Wanted& wanted,
                                PageTarget& target,
                                Transfer& out) {
  SLUICE_TRY(Opened open, opened());
  transport::GetRequest request;
  request.handle = open.handle;
  request.max_kl = wanted.max_kl;
  request.first_layer = wanted.first_layer;
  request.layer_count = wanted.layers;
  for (const Hash32& key : chain.keys) {
    request.pages.push_back({.key = key});
  }
  Receiver receiver(*this, chain, wanted, target, out);
  SLUICE_CHECK(open.requester->get(request, receiver, client_.call_options()));
  if (const auto& damaged = receiver.damaged()) {
    ++out.pages_damaged;
    SLUICE_CHECK(report_damage(chain.keys[damaged->page_index], damaged->encoding_id));
  }
  if (const auto& page = receiver.unreadable()) {
    SLUICE_CHECK(fetch_profile(page->profile));
    if (profile(page->profile) == nullptr) {
      client_.miss_reason = page->reason;
      note_unreadable(chain.keys.subspan(page->page_index), page->profile);
    }
  }
  SLUICE_CHECK(receiver.take_result());
  return receiver.whole();
}

Status Space::check_wanted(const Wanted& wanted) const {
  if (uint64_t{wanted.first_layer} + wanted.layers > geometry_.layers ||
      (wanted.layers == 0 && wanted.first_layer != 0)) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "{} layers from layer {} on of pages of {}",
                      wanted.layers,
                      wanted.first_layer,
                      geometry_.layers);
  }
  return check_quality(wanted.max_kl);
}

Result<size_t> Space::get(const Chain& chain,
                          const Wanted& wanted,
                          PageTarget& target,
                          Transfer& out) {
  SLUICE_CHECK(check_wanted(wanted));
  Client::Call call(client_);
  const size_t step = std::clamp<size_t>(kGetBytes / page_bytes(), 1, kKeysMax);
  size_t whole = 0;
  size_t profiles = 0;  // that came meanwhile
  while (whole < chain.keys.size()) {
    const size_t count = std::min(step, chain.keys.size() - whole);
    const Chain batch{.keys = chain.keys.subspan(whole, count),
                      .first_page = chain.first_page + static_cast<uint32_t>(whole)};
    const uint64_t fetches = fetches_;
    SLUICE_TRY(size_t more, get_batch(batch, wanted, target, out));
    whole += more;
    // Once more where a profile came, which may be what was missing.
    if (more < count && (fetches_ == fetches || ++profiles > kFetchedMax)) {
      break;
    }
  }
  return whole;
}

}  // namespace sluice::client
