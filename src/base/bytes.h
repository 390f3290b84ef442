// Views of bytes, little-endian loads and stores, and a bounded reader and writer for headers.
// Not for tensors. No allocation except in ByteWriter.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "src/base/result.h"

namespace sluice {

static_assert(std::endian::native == std::endian::little,
              "loads and stores assume a little-endian host");

using ByteSpan = std::span<const uint8_t>;
using MutByteSpan = std::span<uint8_t>;
using Bytes = std::vector<uint8_t>;

// Loads a little-endian integer from p. Requires: sizeof(T) readable bytes; no alignment.
template <class T>
T load_le(const uint8_t* p) {
  static_assert(std::is_unsigned_v<T>);
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// Stores a little-endian integer at p. Requires: sizeof(T) writable bytes; no alignment.
template <class T>
void store_le(uint8_t* p, T value) {
  static_assert(std::is_unsigned_v<T>);
  std::memcpy(p, &value, sizeof value);
}

inline ByteSpan as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Lower-case hex of bytes, for logs and texts.
std::string to_hex(ByteSpan bytes);

// The bytes of lower- or upper-case hex. Errors: bad_value (odd length, or a character that is
// none).
Result<Bytes> from_hex(std::string_view text);

// Reads a header from front to back; the first read past the end fails and names the field.
// The bytes stay the caller's and must outlive the reader and every span it returned.
class ByteReader {
 public:
  // `what` names the structure in error texts, e.g. "page header"; it must outlive the reader.
  ByteReader(ByteSpan bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  // The next unsigned integer. Errors: truncated.
  template <class T>
  Result<T> read(std::string_view field) {
    SLUICE_TRY(ByteSpan raw, read_bytes(sizeof(T), field));
    return load_le<T>(raw.data());
  }

  // A view of the next `count` bytes. Errors: truncated.
  Result<ByteSpan> read_bytes(size_t count, std::string_view field);

  // The next N bytes by value. Errors: truncated.
  template <size_t N>
  Result<std::array<uint8_t, N>> read_array(std::string_view field) {
    SLUICE_TRY(ByteSpan raw, read_bytes(N, field));
    std::array<uint8_t, N> out;
    std::memcpy(out.data(), raw.data(), N);
    return out;
  }

  // Passes over `count` bytes that must be zero. Errors: truncated, reserved_set.
  Status skip_reserved(size_t count, std::string_view field);

  // Succeeds at the end of the bytes. Errors: bad_value (bytes left over).
  Status expect_end() const;

  size_t offset() const { return offset_; }

  size_t remaining() const { return bytes_.size() - offset_; }

 private:
  ByteSpan bytes_;
  std::string_view what_;
  size_t offset_ = 0;
};

// Appends header fields to a growing buffer that it owns.
class ByteWriter {
 public:
  template <class T>
  ByteWriter& write(T value) {
    size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    store_le(bytes_.data() + at, value);
    return *this;
  }

  ByteWriter& write_bytes(ByteSpan bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }

  ByteWriter& write_zeros(size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }

  ByteSpan bytes() const { return bytes_; }

  Bytes take() && { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

}  // namespace sluice
