#include "codec/field_access.h"

namespace sluice::codec {

Status expect_zero(ByteSpan entry,
                   const Field& field,
                   std::string_view what,
                   uint64_t entry_offset) {
  for (uint32_t i = 0; i < field.bytes; ++i) {
    if (entry[field.at + i] != 0) {
      return SLUICE_ERR(Errc::reserved_set,
                        "{} offset {}: reserved byte is {:#x}, expected 0; written by a newer "
                        "version?",
                        what,
                        entry_offset + field.at + i,
                        entry[field.at + i]);
    }
  }
  return {};
}

}  // namespace sluice::codec
