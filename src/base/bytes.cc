#include "src/base/bytes.h"

#include <algorithm>

namespace sluice {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

std::string to_hex(ByteSpan bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(2 * bytes.size());
  for (uint8_t byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

Result<Bytes> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) {
    return SLUICE_ERR(Errc::bad_value, "hex text has an odd length of {} characters", text.size());
  }
  Bytes out;
  out.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    int high = hex_digit(text[i]);
    int low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) {
      return SLUICE_ERR(Errc::bad_value, "hex text has a character that is none at offset {}", i);
    }
    out.push_back(static_cast<uint8_t>(high * 16 + low));
  }
  return out;
}

Result<ByteSpan> ByteReader::read_bytes(size_t count, std::string_view field) {
  if (count > remaining()) {
    return SLUICE_ERR(Errc::truncated,
                      "{}: field '{}' at offset {} needs {} bytes, {} are left",
                      what_,
                      field,
                      offset_,
                      count,
                      remaining());
  }
  ByteSpan out = bytes_.subspan(offset_, count);
  offset_ += count;
  return out;
}

Status ByteReader::skip_reserved(size_t count, std::string_view field) {
  size_t start = offset_;
  SLUICE_TRY(ByteSpan raw, read_bytes(count, field));
  const auto* bad = std::find_if(raw.data(), raw.data() + count, [](uint8_t b) { return b != 0; });
  if (bad != raw.data() + count) {
    return SLUICE_ERR(Errc::reserved_set,
                      "{}: reserved field '{}' has {:#04x} at offset {}, expected 0; written by a "
                      "newer version?",
                      what_,
                      field,
                      *bad,
                      start + static_cast<size_t>(bad - raw.data()));
  }
  return {};
}

Status ByteReader::expect_end() const {
  if (remaining() != 0) {
    return SLUICE_ERR(
        Errc::bad_value, "{}: {} bytes left over after offset {}", what_, remaining(), offset_);
  }
  return {};
}

}  // namespace sluice
