// The parts of a profile file, one behind the other: what is still to be parsed, and where it
// stands. Private to codec/. Every byte is untrusted.
#pragma once

#include <string_view>

#include "src/base/bytes.h"
#include "src/base/result.h"

namespace sluice::codec {

class ProfileParts {
 public:
  // `at`: offset of the first part in the file.
  ProfileParts(ByteSpan rest, size_t at) : rest_(rest), at_(at) {}

  ByteSpan rest() const { return rest_; }

  size_t offset() const { return at_; }

  // The next part. Errors: bad_value, of what is named `what`.
  Result<ByteSpan> take(uint64_t bytes, std::string_view what) {
    if (bytes > rest_.size()) {
      return SLUICE_ERR(Errc::bad_value,
                        "profile: {} at offset {} of {} bytes do not fit, {} are left",
                        what,
                        at_,
                        bytes,
                        rest_.size());
    }
    ByteSpan taken = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    at_ += bytes;
    return taken;
  }

 private:
  ByteSpan rest_;
  size_t at_;
};

}  // namespace sluice::codec
