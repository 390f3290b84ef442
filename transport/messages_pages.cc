// LOOKUP, GET, the meta frame of a page, PUT.
#include <algorithm>

#include "transport/message_fields.h"
#include "transport/messages.h"

namespace sluice::transport {
namespace {

constexpr size_t kLookupPageBytes = 16;
constexpr size_t kGetPageBytes = 56;

Status check(const LookupRequest& m) {
  SLUICE_CHECK(in_range("LOOKUP request", "group_count", m.groups.size(), 1, kLookupGroupsMax));
  size_t keys = 0;
  for (const LookupGroup& group : m.groups) {
    keys += group.keys.size();
    SLUICE_CHECK(in_range("LOOKUP request", "keys of all groups", keys, 0, kKeysMax));
    SLUICE_CHECK(in_range("LOOKUP request", "window_pages", group.window_pages, 0, kKeysMax));
  }
  return {};
}

Status check(const LookupReply& m) {
  SLUICE_CHECK(in_range("LOOKUP reply", "common_pages", m.common_pages, 0, kKeysMax));
  SLUICE_CHECK(in_range("LOOKUP reply", "group_count", m.groups.size(), 1, kLookupGroupsMax));
  size_t pages = 0;
  for (const LookupGroupReply& group : m.groups) {
    pages += group.pages.size();
    SLUICE_CHECK(in_range("LOOKUP reply", "pages of all groups", pages, 0, kKeysMax));
    SLUICE_CHECK(in_range("LOOKUP reply", "hit_pages", group.hit_pages, 0, kKeysMax));
    SLUICE_CHECK(in_range("LOOKUP reply", "first_page", group.first_page, 0, kKeysMax));
  }
  return printable("LOOKUP reply", "miss_reason", m.miss_reason, kTextBytesMax);
}

Status check(const GetRequest& m) {
  SLUICE_CHECK(in_range("GET request", "page_count", m.pages.size(), 1, kKeysMax));
  SLUICE_CHECK(in_range("GET request", "layer_count", m.layer_count, 0, kLayersMax));
  uint32_t first_max = m.layer_count == 0 ? 0 : kLayersMax - m.layer_count;
  SLUICE_CHECK(in_range("GET request", "first_layer", m.first_layer, 0, first_max));
  for (const GetPageRequest& page : m.pages) {
    SLUICE_CHECK(in_range("GET request", "first_row", page.first_row, 0, kRowsMax));
    SLUICE_CHECK(in_range("GET request", "least_rows", page.least_rows, 0, kRowsMax));
  }
  return {};
}

Status check(const PageMeta& m) {
  SLUICE_CHECK(in_range("page meta", "page_index", m.page_index, 0, kKeysMax - 1));
  if (m.status != Errc::ok) {
    PageMeta bare{.page_index = m.page_index, .status = m.status};
    if (m != bare) {
      return SLUICE_ERR(Errc::bad_value,
                        "page meta: page {} has status {} and yet sizes or an encoding",
                        m.page_index,
                        errc_name(m.status));
    }
    return {};
  }
  SLUICE_CHECK(in_range("page meta", "header_bytes", m.header_bytes, 1, kPageHeaderBytesMax));
  SLUICE_CHECK(in_range("page meta", "rows", m.rows, 0, kRowsMax));
  return in_range("page meta", "body_bytes", m.body_bytes, 0, kPageBytesMax - m.header_bytes);
}

Status check(const PutRequest& m) {
  SLUICE_CHECK(in_range("PUT request", "ack", static_cast<uint8_t>(m.ack), 0, 1));
  return in_range("PUT request", "page_bytes", m.page_bytes, 1, kPageBytesMax);
}

Result<LookupGroup> read_group(ByteReader& in) {
  LookupGroup group;
  SLUICE_TRY(group.handle, in.read<uint32_t>("handle"));
  SLUICE_TRY(group.window_pages, in.read<uint32_t>("window_pages"));
  SLUICE_TRY(auto count, in.read<uint32_t>("key_count"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_TRY(group.keys, read_keys(in, count));
  return group;
}

Result<LookupGroupReply> read_group_reply(ByteReader& in) {
  LookupGroupReply group;
  SLUICE_TRY(group.hit_pages, in.read<uint32_t>("hit_pages"));
  SLUICE_TRY(group.first_page, in.read<uint32_t>("first_page"));
  SLUICE_TRY(auto count, in.read<uint32_t>("page_count"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_TRY(ByteSpan raw, in.read_bytes(count * kLookupPageBytes, "pages"));
  group.pages.resize(count);
  const uint8_t* p = raw.data();
  for (LookupPage& page : group.pages) {
    page = {load_le<uint32_t>(p), load_le<uint32_t>(p + 4), load_le<uint64_t>(p + 8)};
    p += kLookupPageBytes;
  }
  return group;
}

Result<GetPageRequest> read_get_page(ByteReader& in) {
  GetPageRequest page;
  SLUICE_TRY(page.key, in.read_array<32>("key"));
  SLUICE_TRY(page.encoding_id, in.read_array<16>("encoding_id"));
  SLUICE_TRY(page.first_row, in.read<uint32_t>("first_row"));
  SLUICE_TRY(page.least_rows, in.read<uint32_t>("least_rows"));
  return page;
}

}  // namespace

Result<Bytes> encode(const LookupRequest& message) {
  SLUICE_CHECK(check(message));
  ByteWriter out;
  out.write(message.max_kl).write(count32(message.groups.size()));
  for (const LookupGroup& group : message.groups) {
    out.write(group.handle).write(group.window_pages);
    out.write(count32(group.keys.size())).write_zeros(4);
    write_keys(out, group.keys);
  }
  return std::move(out).take();
}

template <>
Result<LookupRequest> parse(ByteSpan payload) {
  ByteReader in(payload, "LOOKUP request");
  LookupRequest out;
  SLUICE_TRY(out.max_kl, in.read<uint32_t>("max_kl"));
  SLUICE_TRY(auto group_count, in.read<uint32_t>("group_count"));
  SLUICE_CHECK(in_range("LOOKUP request", "group_count", group_count, 1, kLookupGroupsMax));
  for (uint32_t i = 0; i < group_count; ++i) {
    SLUICE_TRY(LookupGroup group, read_group(in));
    out.groups.push_back(std::move(group));
  }
  SLUICE_CHECK(in.expect_end());
  SLUICE_CHECK(check(out));
  return out;
}

Result<Bytes> encode(const LookupReply& message) {
  SLUICE_CHECK(check(message));
  ByteWriter out;
  out.write(message.common_pages).write(count32(message.groups.size()));
  out.write(count32(message.miss_reason.size())).write_zeros(4);
  for (const LookupGroupReply& group : message.groups) {
    out.write(group.hit_pages).write(group.first_page);
    out.write(count32(group.pages.size())).write_zeros(4);
    for (const LookupPage& page : group.pages) {
      out.write(page.rows).write(page.kl).write(page.stored_bytes);
    }
  }
  out.write_bytes(as_bytes(message.miss_reason));
  return std::move(out).take();
}

template <>
Result<LookupReply> parse(ByteSpan payload) {
  ByteReader in(payload, "LOOKUP reply");
  LookupReply out;
  SLUICE_TRY(out.common_pages, in.read<uint32_t>("common_pages"));
  SLUICE_TRY(auto group_count, in.read<uint32_t>("group_count"));
  SLUICE_TRY(auto miss_reason_bytes, in.read<uint32_t>("miss_reason_bytes"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_CHECK(in_range("LOOKUP reply", "group_count", group_count, 1, kLookupGroupsMax));
  for (uint32_t i = 0; i < group_count; ++i) {
    SLUICE_TRY(LookupGroupReply group, read_group_reply(in));
    out.groups.push_back(std::move(group));
  }
  SLUICE_TRY(out.miss_reason, read_text(in, miss_reason_bytes, "miss_reason"));
  SLUICE_CHECK(in.expect_end());
  SLUICE_CHECK(check(out));
  return out;
}

Result<Bytes> encode(const GetRequest& message) {
  SLUICE_CHECK(check(message));
  ByteWriter out;
  out.write(message.handle).write(message.max_kl);
  out.write(message.first_layer).write(message.layer_count);
  out.write(count32(message.pages.size())).write_zeros(4);
  for (const GetPageRequest& page : message.pages) {
    out.write_bytes(page.key).write_bytes(page.encoding_id);
    out.write(page.first_row).write(page.least_rows);
  }
  return std::move(out).take();
}

template <>
Result<GetRequest> parse(ByteSpan payload) {
  ByteReader in(payload, "GET request");
  GetRequest out;
  SLUICE_TRY(out.handle, in.read<uint32_t>("handle"));
  SLUICE_TRY(out.max_kl, in.read<uint32_t>("max_kl"));
  SLUICE_TRY(out.first_layer, in.read<uint32_t>("first_layer"));
  SLUICE_TRY(out.layer_count, in.read<uint32_t>("layer_count"));
  SLUICE_TRY(auto page_count, in.read<uint32_t>("page_count"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_CHECK(in_range("GET request", "page_count", page_count, 1, kKeysMax));
  out.pages.reserve(std::min<size_t>(page_count, in.remaining() / kGetPageBytes));
  for (uint32_t i = 0; i < page_count; ++i) {
    SLUICE_TRY(GetPageRequest page, read_get_page(in));
    out.pages.push_back(page);
  }
  SLUICE_CHECK(in.expect_end());
  SLUICE_CHECK(check(out));
  return out;
}

Result<Bytes> encode(const PageMeta& message) {
  SLUICE_CHECK(check(message));
  ByteWriter out;
  out.write(message.page_index).write(static_cast<uint32_t>(message.status));
  out.write_bytes(message.encoding_id).write(message.header_bytes).write(message.rows);
  out.write(message.body_bytes).write(message.kl).write_zeros(4);
  return std::move(out).take();
}

template <>
Result<PageMeta> parse(ByteSpan payload) {
  ByteReader in(payload, "page meta");
  PageMeta out;
  SLUICE_TRY(out.page_index, in.read<uint32_t>("page_index"));
  SLUICE_TRY(auto status, in.read<uint32_t>("status"));
  out.status = errc_from_wire(status);
  SLUICE_TRY(out.encoding_id, in.read_array<16>("encoding_id"));
  SLUICE_TRY(out.header_bytes, in.read<uint32_t>("header_bytes"));
  SLUICE_TRY(out.rows, in.read<uint32_t>("rows"));
  SLUICE_TRY(out.body_bytes, in.read<uint64_t>("body_bytes"));
  SLUICE_TRY(out.kl, in.read<uint32_t>("kl"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_CHECK(in.expect_end());
  SLUICE_CHECK(check(out));
  return out;
}

Result<Bytes> encode(const PutRequest& message) {
  SLUICE_CHECK(check(message));
  ByteWriter out;
  out.write(message.handle).write(static_cast<uint8_t>(message.ack)).write_zeros(3);
  out.write_bytes(message.key).write_bytes(message.anchor).write(message.page_bytes);
  return std::move(out).take();
}

template <>
Result<PutRequest> parse(ByteSpan payload) {
  ByteReader in(payload, "PUT request");
  PutRequest out;
  SLUICE_TRY(out.handle, in.read<uint32_t>("handle"));
  SLUICE_TRY(auto ack, in.read<uint8_t>("ack"));
  out.ack = static_cast<Ack>(ack);
  SLUICE_CHECK(in.skip_reserved(3, "reserved"));
  SLUICE_TRY(out.key, in.read_array<32>("key"));
  SLUICE_TRY(out.anchor, in.read_array<32>("anchor"));
  SLUICE_TRY(out.page_bytes, in.read<uint64_t>("page_bytes"));
  SLUICE_CHECK(in.expect_end());
  SLUICE_CHECK(check(out));
  return out;
}

Result<Bytes> encode(const PutReply& message) {
  ByteWriter out;
  out.write(static_cast<uint8_t>(message.outcome)).write_zeros(7);
  return std::move(out).take();
}

template <>
Result<PutReply> parse(ByteSpan payload) {
  ByteReader in(payload, "PUT reply");
  SLUICE_TRY(auto outcome, in.read<uint8_t>("outcome"));
  SLUICE_CHECK(in_range("PUT reply", "outcome", outcome, 1, 3));
  SLUICE_CHECK(in.skip_reserved(7, "reserved"));
  SLUICE_CHECK(in.expect_end());
  return PutReply{.outcome = static_cast<PutOutcome>(outcome)};
}

}  // namespace sluice::transport
