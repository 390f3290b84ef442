// Reads and writes fields of the codec's byte formats where their tables say that they stand.
// Private to codec/. Requires, throughout: the entry holds the field.
#pragma once

#include <string_view>

#include "src/base/bytes.h"
#include "src/base/field.h"
#include "src/base/result.h"

namespace sluice::codec {

template <class T>
T load_field(ByteSpan entry, const Field& field) {
  return load_le<T>(entry.data() + field.at);
}

template <class T>
void store_field(MutByteSpan entry, const Field& field, T value) {
  store_le<T>(entry.data() + field.at, value);
}

// Checks that a reserved field is zero. `what` names the structure, whose entry is at
// `entry_offset` of it. Errors: reserved_set.
Status expect_zero(ByteSpan entry,
                   const Field& field,
                   std::string_view what,
                   uint64_t entry_offset);

// `parsed`, whose error says of which entry.
template <class T>
Result<T> of_entry(std::string_view what, uint64_t entry_offset, Result<T> parsed) {
  if (parsed.has_error()) {
    const Error& error = parsed.error();
    return SLUICE_ERR(error.code, "{}: entry at offset {}: {}", what, entry_offset, error.text);
  }
  return parsed;
}

}  // namespace sluice::codec
