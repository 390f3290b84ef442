// HELLO, OPEN, DAMAGED, DELETE, STATS, and the text of errors.
#include <algorithm>
#include <functional>

#include "transport/message_fields.h"
#include "transport/messages.h"

namespace sluice::transport {
namespace {

Status check(const HelloRequest& m) {
  SLUICE_CHECK(in_range("HELLO request", "version_min", m.version_min, 1, 255));
  SLUICE_CHECK(in_range("HELLO request", "version_max", m.version_max, m.version_min, 255));
  SLUICE_CHECK(in_range("HELLO request",
                        "reply_credit_bytes",
                        m.reply_credit_bytes,
                        kCreditBytesMin,
                        kCreditBytesMax));
  if (!m.token.empty()) {
    SLUICE_CHECK(
        in_range("HELLO request", "token_bytes", m.token.size(), kTokenBytesMin, kTokenBytesMax));
    // Says nothing of the token itself.
    if (!std::all_of(m.token.begin(), m.token.end(), is_printable)) {
      return SLUICE_ERR(Errc::bad_value, "HELLO request: token is not printable ASCII");
    }
  }
  return printable("HELLO request", "software", m.software, kSoftwareBytesMax);
}

Status check(const HelloReply& m) {
  SLUICE_CHECK(in_range("HELLO reply", "version", m.version, 1, 255));
  SLUICE_CHECK(in_range("HELLO reply",
                        "request_credit_bytes",
                        m.request_credit_bytes,
                        kCreditBytesMin,
                        kCreditBytesMax));
  SLUICE_CHECK(in_range(
      "HELLO reply", "reply_credit_bytes", m.reply_credit_bytes, kCreditBytesMin, kCreditBytesMax));
  return printable("HELLO reply", "software", m.software, kSoftwareBytesMax);
}

Status check_stats(const StatsReply& m) {
  SLUICE_CHECK(in_range("STATS reply", "stat_count", m.stats.size(), 0, kStatsMax));
  for (const Stat& stat : m.stats) {
    SLUICE_CHECK(printable("STATS reply", "name", stat.name, kStatNameBytesMax));
  }
  return {};
}

}  // namespace

Result<Bytes> encode(const HelloRequest& message) {
  SLUICE_CHECK(check(message));
  ByteWriter out;
  out.write(message.version_min).write(message.version_max);
  out.write(static_cast<uint16_t>(message.software.size()));
  out.write(static_cast<uint16_t>(message.token.size())).write_zeros(2);
  out.write(message.features).write(message.reply_credit_bytes).write_bytes(message.self_test);
  out.write_bytes(as_bytes(message.software)).write_bytes(as_bytes(message.token));
  return std::move(out).take();
}

template <>
Result<HelloRequest> parse(ByteSpan payload) {
  ByteReader in(payload, "HELLO request");
  HelloRequest out;
  SLUICE_TRY(out.version_min, in.read<uint8_t>("version_min"));
  SLUICE_TRY(out.version_max, in.read<uint8_t>("version_max"));
  SLUICE_TRY(auto software_bytes, in.read<uint16_t>("software_bytes"));
  SLUICE_TRY(auto token_bytes, in.read<uint16_t>("token_bytes"));
  SLUICE_CHECK(in.skip_reserved(2, "reserved"));
  SLUICE_TRY(out.features, in.read<uint64_t>("features"));
  SLUICE_TRY(out.reply_credit_bytes, in.read<uint64_t>("reply_credit_bytes"));
  SLUICE_TRY(out.self_test, in.read_array<32>("self_test"));
  SLUICE_TRY(out.software, read_text(in, software_bytes, "software"));
  SLUICE_TRY(out.token, read_text(in, token_bytes, "token"));
  SLUICE_CHECK(in.expect_end());
  SLUICE_CHECK(check(out));
  return out;
}

Result<Bytes> encode(const HelloReply& message) {
  SLUICE_CHECK(check(message));
  ByteWriter out;
  out.write(message.version).write_zeros(1);
  out.write(static_cast<uint16_t>(message.software.size())).write_zeros(4);
  out.write(message.features).write(message.request_credit_bytes);
  out.write(message.reply_credit_bytes).write_bytes(message.self_test);
  out.write_bytes(as_bytes(message.software));
  return std::move(out).take();
}

template <>
Result<HelloReply> parse(ByteSpan payload) {
  ByteReader in(payload, "HELLO reply");
  HelloReply out;
  SLUICE_TRY(out.version, in.read<uint8_t>("version"));
  SLUICE_CHECK(in.skip_reserved(1, "reserved"));
  SLUICE_TRY(auto software_bytes, in.read<uint16_t>("software_bytes"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_TRY(out.features, in.read<uint64_t>("features"));
  SLUICE_TRY(out.request_credit_bytes, in.read<uint64_t>("request_credit_bytes"));
  SLUICE_TRY(out.reply_credit_bytes, in.read<uint64_t>("reply_credit_bytes"));
  SLUICE_TRY(out.self_test, in.read_array<32>("self_test"));
  SLUICE_TRY(out.software, read_text(in, software_bytes, "software"));
  SLUICE_CHECK(in.expect_end());
  SLUICE_CHECK(check(out));
  return out;
}

Result<Bytes> encode(const OpenRequest& message) {
  SLUICE_CHECK(in_range(
      "OPEN request", "descriptor_bytes", message.descriptor.size(), 1, kDescriptorBytesMax));
  ByteWriter out;
  out.write(message.worst_kl).write(count32(message.descriptor.size()));
  out.write_bytes(message.descriptor);
  return std::move(out).take();
}

template <>
Result<OpenRequest> parse(ByteSpan payload) {
  ByteReader in(payload, "OPEN request");
  OpenRequest out;
  SLUICE_TRY(out.worst_kl, in.read<uint32_t>("worst_kl"));
  SLUICE_TRY(auto bytes, in.read<uint32_t>("descriptor_bytes"));
  SLUICE_CHECK(in_range("OPEN request", "descriptor_bytes", bytes, 1, kDescriptorBytesMax));
  SLUICE_TRY(ByteSpan raw, in.read_bytes(bytes, "descriptor"));
  SLUICE_CHECK(in.expect_end());
  out.descriptor.assign(raw.begin(), raw.end());
  return out;
}

Result<Bytes> encode(const OpenReply& message) {
  ByteWriter out;
  out.write(message.handle).write_zeros(4).write_bytes(message.space_id);
  return std::move(out).take();
}

template <>
Result<OpenReply> parse(ByteSpan payload) {
  ByteReader in(payload, "OPEN reply");
  OpenReply out;
  SLUICE_TRY(out.handle, in.read<uint32_t>("handle"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_TRY(out.space_id, in.read_array<32>("space_id"));
  SLUICE_CHECK(in.expect_end());
  return out;
}

Result<Bytes> encode(const DamagedRequest& message) {
  ByteWriter out;
  out.write(message.handle).write_zeros(4);
  out.write_bytes(message.key).write_bytes(message.encoding_id);
  return std::move(out).take();
}

template <>
Result<DamagedRequest> parse(ByteSpan payload) {
  ByteReader in(payload, "DAMAGED request");
  DamagedRequest out;
  SLUICE_TRY(out.handle, in.read<uint32_t>("handle"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_TRY(out.key, in.read_array<32>("key"));
  SLUICE_TRY(out.encoding_id, in.read_array<16>("encoding_id"));
  SLUICE_CHECK(in.expect_end());
  return out;
}

Result<Bytes> encode(const DamagedReply& message) {
  ByteWriter out;
  out.write(static_cast<uint8_t>(message.quarantined)).write_zeros(7);
  return std::move(out).take();
}

template <>
Result<DamagedReply> parse(ByteSpan payload) {
  ByteReader in(payload, "DAMAGED reply");
  SLUICE_TRY(auto quarantined, in.read<uint8_t>("quarantined"));
  SLUICE_CHECK(in_range("DAMAGED reply", "quarantined", quarantined, 0, 1));
  SLUICE_CHECK(in.skip_reserved(7, "reserved"));
  SLUICE_CHECK(in.expect_end());
  return DamagedReply{.quarantined = quarantined == 1};
}

Result<Bytes> encode(const DeleteRequest& message) {
  SLUICE_CHECK(in_range("DELETE request", "key_count", message.keys.size(), 1, kKeysMax));
  ByteWriter out;
  out.write(message.handle).write(count32(message.keys.size()));
  write_keys(out, message.keys);
  return std::move(out).take();
}

template <>
Result<DeleteRequest> parse(ByteSpan payload) {
  ByteReader in(payload, "DELETE request");
  DeleteRequest out;
  SLUICE_TRY(out.handle, in.read<uint32_t>("handle"));
  SLUICE_TRY(auto count, in.read<uint32_t>("key_count"));
  SLUICE_CHECK(in_range("DELETE request", "key_count", count, 1, kKeysMax));
  SLUICE_TRY(out.keys, read_keys(in, count));
  SLUICE_CHECK(in.expect_end());
  return out;
}

Result<Bytes> encode(const DeleteReply& message) {
  ByteWriter out;
  out.write(message.deleted_pages).write_zeros(4);
  return std::move(out).take();
}

template <>
Result<DeleteReply> parse(ByteSpan payload) {
  ByteReader in(payload, "DELETE reply");
  DeleteReply out;
  SLUICE_TRY(out.deleted_pages, in.read<uint32_t>("deleted_pages"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_CHECK(in.expect_end());
  return out;
}

Result<Bytes> encode(const StatsRequest&) {
  return Bytes();
}

template <>
Result<StatsRequest> parse(ByteSpan payload) {
  SLUICE_CHECK(ByteReader(payload, "STATS request").expect_end());
  return StatsRequest();
}

Result<Bytes> encode(const StatsReply& message) {
  SLUICE_CHECK(check_stats(message));
  ByteWriter out;
  out.write(count32(message.stats.size())).write_zeros(4);
  for (const Stat& stat : message.stats) {
    out.write(stat.value).write(static_cast<uint16_t>(stat.name.size()));
    out.write_bytes(as_bytes(stat.name));
  }
  return std::move(out).take();
}

template <>
Result<StatsReply> parse(ByteSpan payload) {
  ByteReader in(payload, "STATS reply");
  SLUICE_TRY(auto count, in.read<uint32_t>("stat_count"));
  SLUICE_CHECK(in_range("STATS reply", "stat_count", count, 0, kStatsMax));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  StatsReply out;
  out.stats.resize(count);
  for (Stat& stat : out.stats) {
    SLUICE_TRY(stat.value, in.read<uint64_t>("value"));
    SLUICE_TRY(auto name_bytes, in.read<uint16_t>("name_bytes"));
    SLUICE_TRY(stat.name, read_text(in, name_bytes, "name"));
  }
  SLUICE_CHECK(in.expect_end());
  SLUICE_CHECK(check_stats(out));
  return out;
}

std::string wire_text(std::string_view text) {
  std::string out(text.substr(0, kTextBytesMax));
  std::replace_if(out.begin(), out.end(), std::not_fn(is_printable), '?');
  return out;
}

Error parse_error(uint32_t status, ByteSpan payload) {
  const Errc code = status == 0 ? Errc::protocol_error : errc_from_wire(status);
  const std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  return Error{code, wire_text(text), BOOST_CURRENT_LOCATION};
}

Bytes encode_error(const Error& error) {
  const std::string text = wire_text(error.text);
  return Bytes(text.begin(), text.end());
}

}  // namespace sluice::transport
