// Limits that more than one folder enforces. A value outside is refused with too_large or
// bad_value.
#pragma once

#include <cstdint>

namespace sluice {

inline constexpr uint64_t kPageBytesMax = 256ull << 20;    // header and sections of one stored page
inline constexpr uint32_t kPageHeaderBytesMax = 1u << 20;  // 65,000 sections of 16 bytes
inline constexpr uint32_t kFramePayloadBytesMax = 1u << 20;
inline constexpr uint32_t kDescriptorBytesMax = 64u << 10;
inline constexpr uint32_t kProfileBytesMax = 64u << 20;
inline constexpr uint32_t kLayersMax = 4096;      // transformer layers of one group
inline constexpr uint32_t kPlanesMax = 16;        // planes of one layer
inline constexpr uint32_t kPageTokensMax = 4096;  // tokens of one page
inline constexpr uint32_t kKeysMax = 16384;  // page keys named by one request: 1 M tokens at 64

// Worst quality there is: the KL of KV whose distance from exact nobody measured.
inline constexpr uint32_t kKlUnknown = 0xffffffffu;

}  // namespace sluice
