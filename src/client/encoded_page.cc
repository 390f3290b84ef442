#include "src/client/encoded_page.h"

#include <algorithm>
#include <utility>

#include "src/base/limits.h"

namespace sluice::client {
namespace {

// Keeps the one page of a GET.
struct Keep final : transport::PageSink {
  MutByteSpan page_begins(const transport::PageMeta& meta) override {
    page.encoding_id = meta.encoding_id;
    page.rows = meta.rows;
    page.bytes.resize(std::min<uint64_t>(meta.page_bytes(), kPageBytesMax));
    return meta.page_bytes() == page.bytes.size() ? MutByteSpan(page.bytes) : MutByteSpan();
  }

  void page_ends(const transport::PageMeta&) override {}

  void page_missing(const transport::PageMeta& meta) override { status = meta.status; }

  EncodedPage page;
  Errc status = Errc::ok;
};

}  // namespace

Result<codec::PageHeader> verify_rows(ByteSpan page) {
  SLUICE_TRY(codec::PageHeader header, codec::parse_page_header(page));
  const size_t rows = std::max<size_t>(codec::rows_within(header, page.size()), 1);
  if (rows == header.rows.size()) {
    return codec::verify_page(page);
  }
  uint64_t end = 0;
  for (size_t row = 0; row < rows; ++row) {
    SLUICE_TRY(auto range, codec::select_sections(header, row, 0, header.geometry.layers));
    const size_t begin = std::min<uint64_t>(range.offset, page.size());
    SLUICE_CHECK(codec::verify_sections(header, range, page.subspan(begin)));
    end = range.offset + range.bytes;
  }
  if (end != page.size()) {
    return SLUICE_ERR(Errc::truncated,
                      "page of {} bytes: its row {} ends at {}, the next one is not whole",
                      page.size(),
                      rows - 1,
                      end);
  }
  return header;
}

Result<uint32_t> encoded_kl(const EncodedPage& page) {
  Result<codec::PageHeader> header = codec::parse_page_header(page.bytes);
  if (header.has_error() || page.rows == 0 || page.rows > header->rows.size()) {
    return SLUICE_ERR(Errc::damaged,
                      "a page of {} rows came: {}",
                      page.rows,
                      header.has_error() ? header.error().text : "its header has others");
  }
  return std::max(header->rows[page.rows - 1].kl, header->provenance_kl);
}

Result<EncodedPage> Space::fetch(const transport::GetPageRequest& page, uint32_t max_kl) {
  SLUICE_TRY(Opened open, opened());
  transport::GetRequest request;
  request.handle = open.handle;
  request.max_kl = max_kl;
  request.pages.push_back(page);
  Keep keep;
  SLUICE_CHECK(open.requester->get(request, keep, client_.call_options()));
  if (keep.status != Errc::ok) {
    return SLUICE_ERR(keep.status, "the daemon has no page {} to serve", to_hex(page.key));
  }
  return std::move(keep.page);
}

Result<EncodedPage> Space::get_encoded(const Hash32& key, uint32_t max_kl, uint32_t least_rows) {
  Client::Call call(client_);
  return fetch({.key = key, .least_rows = least_rows}, max_kl);
}

Status Space::refine(const Hash32& key, uint32_t max_kl, EncodedPage& page) {
  Client::Call call(client_);
  SLUICE_TRY(codec::PageHeader header, codec::parse_page_header(page.bytes));
  SLUICE_TRY(EncodedPage more,
             fetch({.key = key, .encoding_id = page.encoding_id, .first_row = page.rows}, max_kl));
  const auto header_bytes = static_cast<ptrdiff_t>(header.header_bytes());
  const bool continues =
      more.bytes.size() >= header.header_bytes() &&
      std::equal(page.bytes.begin(), page.bytes.begin() + header_bytes, more.bytes.begin()) &&
      page.rows + more.rows <= header.rows.size();
  if (!continues) {
    SLUICE_CHECK(report_damage(key, page.encoding_id));
    return SLUICE_ERR(Errc::damaged,
                      "page {}: {} rows came that do not continue its {}",
                      to_hex(key),
                      more.rows,
                      page.rows);
  }
  page.bytes.insert(page.bytes.end(), more.bytes.begin() + header_bytes, more.bytes.end());
  page.rows += more.rows;
  return {};
}

Status Space::decode_encoded(const Hash32& key,
                             uint32_t page_index,
                             const EncodedPage& page,
                             MutByteSpan tensors) {
  Client::Call call(client_);
  if (Result<uint32_t> kl = client::encoded_kl(page); kl.has_value()) {
    SLUICE_CHECK(check_quality(*kl));
  }
  const Arrived arrived{.key = key,
                        .page_index = page_index,
                        .encoding_id = page.encoding_id,
                        .rows = page.rows,
                        .bytes = page.bytes};
  if (auto header = codec::parse_page_header(page.bytes);
      header.has_value() && header->encoding == codec::Encoding::progressive &&
      profile(header->profile_digest) == nullptr) {
    SLUICE_CHECK(fetch_profile(header->profile_digest));
  }
  Status decoded = decode(arrived, {.max_kl = kKlUnknown}, tensors);
  // Another profile's page is whole: the daemon must not hear that it is damaged.
  if (decoded.has_error() && decoded.error().code == Errc::identity_mismatch) {
    note_unreadable({&key, 1}, codec::parse_page_header(page.bytes)->profile_digest);
  } else if (decoded.has_error() && decoded.error().code != Errc::output_too_small) {
    SLUICE_CHECK(report_damage(key, page.encoding_id));
  }
  return decoded;
}

}  // namespace sluice::client
