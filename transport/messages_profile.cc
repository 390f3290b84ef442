// GET_PROFILE and PUT_PROFILE.
#include "transport/message_fields.h"
#include "transport/messages.h"

namespace sluice::transport {
namespace {

Status check(const GetProfileReply& m) {
  SLUICE_CHECK(
      in_range("GET_PROFILE reply", "profile_bytes", m.profile_bytes, 1, kProfileBytesMax));
  return in_range("GET_PROFILE reply", "piece_bytes", m.piece.size(), 1, kProfilePieceBytesMax);
}

Status check(const PutProfileRequest& m) {
  SLUICE_CHECK(
      in_range("PUT_PROFILE request", "profile_bytes", m.profile_bytes, 1, kProfileBytesMax));
  SLUICE_CHECK(in_range("PUT_PROFILE request", "offset", m.offset, 0, m.profile_bytes));
  const uint32_t left = m.profile_bytes - m.offset;
  return in_range("PUT_PROFILE request",
                  "piece_bytes",
                  m.piece.size(),
                  0,
                  left < kProfilePieceBytesMax ? left : kProfilePieceBytesMax);
}

// The piece that ends a message, behind its length.
Result<Bytes> read_piece(ByteReader& in, std::string_view message) {
  SLUICE_TRY(auto bytes, in.read<uint32_t>("piece_bytes"));
  SLUICE_CHECK(in_range(message, "piece_bytes", bytes, 0, kProfilePieceBytesMax));
  SLUICE_TRY(ByteSpan piece, in.read_bytes(bytes, "piece"));
  SLUICE_CHECK(in.expect_end());
  return Bytes(piece.begin(), piece.end());
}

void write_piece(ByteWriter& out, const Bytes& piece) {
  out.write(count32(piece.size())).write_bytes(piece);
}

}  // namespace

Result<Bytes> encode(const GetProfileRequest& message) {
  ByteWriter out;
  out.write_bytes(message.digest).write(message.offset).write_zeros(4);
  return std::move(out).take();
}

template <>
Result<GetProfileRequest> parse(ByteSpan payload) {
  ByteReader in(payload, "GET_PROFILE request");
  GetProfileRequest out;
  SLUICE_TRY(out.digest, in.read_array<32>("digest"));
  SLUICE_TRY(out.offset, in.read<uint32_t>("offset"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_CHECK(in.expect_end());
  return out;
}

Result<Bytes> encode(const GetProfileReply& message) {
  SLUICE_CHECK(check(message));
  ByteWriter out;
  out.write(message.profile_bytes);
  write_piece(out, message.piece);
  return std::move(out).take();
}

template <>
Result<GetProfileReply> parse(ByteSpan payload) {
  ByteReader in(payload, "GET_PROFILE reply");
  GetProfileReply out;
  SLUICE_TRY(out.profile_bytes, in.read<uint32_t>("profile_bytes"));
  SLUICE_TRY(out.piece, read_piece(in, "GET_PROFILE reply"));
  SLUICE_CHECK(check(out));
  return out;
}

Result<Bytes> encode(const PutProfileRequest& message) {
  SLUICE_CHECK(check(message));
  ByteWriter out;
  out.write_bytes(message.digest).write(message.profile_bytes).write(message.offset);
  write_piece(out, message.piece);
  return std::move(out).take();
}

template <>
Result<PutProfileRequest> parse(ByteSpan payload) {
  ByteReader in(payload, "PUT_PROFILE request");
  PutProfileRequest out;
  SLUICE_TRY(out.digest, in.read_array<32>("digest"));
  SLUICE_TRY(out.profile_bytes, in.read<uint32_t>("profile_bytes"));
  SLUICE_TRY(out.offset, in.read<uint32_t>("offset"));
  SLUICE_TRY(out.piece, read_piece(in, "PUT_PROFILE request"));
  SLUICE_CHECK(check(out));
  return out;
}

Result<Bytes> encode(const PutProfileReply& message) {
  ByteWriter out;
  out.write(message.next_offset).write_zeros(4);
  return std::move(out).take();
}

template <>
Result<PutProfileReply> parse(ByteSpan payload) {
  ByteReader in(payload, "PUT_PROFILE reply");
  PutProfileReply out;
  SLUICE_TRY(out.next_offset, in.read<uint32_t>("next_offset"));
  SLUICE_CHECK(in.skip_reserved(4, "reserved"));
  SLUICE_CHECK(in.expect_end());
  return out;
}

}  // namespace sluice::transport
