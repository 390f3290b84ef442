// An entry of the log as bytes: what a record's head and its segment's footer share. Private to the
// files that parse these.
#pragma once

#include "store/log_format.h"

namespace sluice::store {

// Requires: `out` has kLogEntryBytes.
void encode_entry(const LogEntry& entry, MutByteSpan out);

// Requires: `bytes` has kLogEntryBytes. Errors: bad_value (a field out of range).
Result<LogEntry> parse_entry(ByteSpan bytes, uint64_t segment);

}  // namespace sluice::store
