#include "codec/profile_extras.h"

#include "codec/field_access.h"
#include "codec/profile_layout.h"

namespace sluice::codec {
namespace {

using namespace profile_layout;

Status check_marks(ByteSpan content, size_t at) {
  bool good = content.size() % kMarkBytes == 0;
  for (size_t i = kMarkBytes; good && i < content.size(); i += kMarkBytes) {
    good =
        load_le<uint64_t>(content.data() + i - kMarkBytes) < load_le<uint64_t>(content.data() + i);
  }
  if (!good) {
    return SLUICE_ERR(Errc::bad_value,
                      "profile: the marks at offset {}, {} bytes, are not whole or do not ascend",
                      at,
                      content.size());
  }
  return {};
}

}  // namespace

Result<std::vector<ProfileExtra>> parse_extras(ByteSpan bytes, size_t at) {
  std::vector<ProfileExtra> extras;
  while (!bytes.empty()) {
    const bool whole = bytes.size() >= kExtraHeadBytes &&
                       load_field<uint32_t>(bytes, kExtraBytes) <= bytes.size() - kExtraHeadBytes;
    if (!whole) {
      return SLUICE_ERR(Errc::bad_value,
                        "profile: the extra at offset {} does not fit, {} bytes are left",
                        at,
                        bytes.size());
    }
    const auto kind = load_field<uint32_t>(bytes, kExtraKind);
    if (kind <= (extras.empty() ? 0 : extras.back().kind)) {
      return SLUICE_ERR(Errc::bad_value,
                        "profile: the extra at offset {} is of kind {}: kinds ascend from 1",
                        at,
                        kind);
    }
    const ByteSpan content =
        bytes.subspan(kExtraHeadBytes, load_field<uint32_t>(bytes, kExtraBytes));
    if (kind == kExtraMarks) {
      SLUICE_CHECK(check_marks(content, at + kExtraHeadBytes));
    }
    extras.push_back({.kind = kind, .content = Bytes(content.begin(), content.end())});
    bytes = bytes.subspan(kExtraHeadBytes + content.size());
    at += kExtraHeadBytes + content.size();
  }
  return extras;
}

}  // namespace sluice::codec
