// Where each field of a page header stands; the tables of FORMAT.md, which a test compares with
// these. Private to codec/.
#pragma once

#include <array>
#include <cstdint>

#include "src/base/field.h"

namespace sluice::codec::layout {

inline constexpr uint32_t kMagicValue = 0x47504c53;  // "SLPG"
inline constexpr uint32_t kVersionValue = 1;

inline constexpr Field kMagic{"magic", 0, 4};
inline constexpr Field kVersion{"version", 4, 4};
inline constexpr Field kHeaderXxh3{"header_xxh3", 8, 8};
inline constexpr Field kHeaderBytes{"header_bytes", 16, 4};
inline constexpr Field kEncoding{"encoding", 20, 1};
inline constexpr Field kPlanes{"planes", 21, 1};
inline constexpr Field kRows{"rows", 22, 1};
inline constexpr Field kReserved0{"reserved_0", 23, 1};
inline constexpr Field kPageKey{"page_key", 24, 32};
inline constexpr Field kProfileDigest{"profile_digest", 56, 32};
inline constexpr Field kProvenanceKl{"provenance_kl", 88, 4};
inline constexpr Field kLayers{"layers", 92, 4};
inline constexpr Field kLayersPerSection{"layers_per_section", 96, 4};
inline constexpr Field kTokens{"n_tokens", 100, 4};
inline constexpr Field kFirstPosition{"first_position", 104, 8};
inline constexpr Field kReserved1{"reserved_1", 112, 16};
inline constexpr std::array kHeader{kMagic,
                                    kVersion,
                                    kHeaderXxh3,
                                    kHeaderBytes,
                                    kEncoding,
                                    kPlanes,
                                    kRows,
                                    kReserved0,
                                    kPageKey,
                                    kProfileDigest,
                                    kProvenanceKl,
                                    kLayers,
                                    kLayersPerSection,
                                    kTokens,
                                    kFirstPosition,
                                    kReserved1};
inline constexpr uint32_t kChecksummedFrom = kHeaderBytes.at;  // up to header_bytes

inline constexpr Field kPlaneRole{"role", 0, 1};
inline constexpr Field kPlaneDtype{"dtype", 1, 1};
inline constexpr Field kPlaneStored{"stored", 2, 1};
inline constexpr Field kPlaneReserved0{"reserved_0", 3, 1};
inline constexpr Field kPlaneHeads{"heads", 4, 2};
inline constexpr Field kPlaneReserved1{"reserved_1", 6, 2};
inline constexpr Field kPlaneDim{"dim", 8, 4};
inline constexpr Field kPlaneRotated{"rotated_dims", 12, 4};
inline constexpr std::array kPlane{kPlaneRole,
                                   kPlaneDtype,
                                   kPlaneStored,
                                   kPlaneReserved0,
                                   kPlaneHeads,
                                   kPlaneReserved1,
                                   kPlaneDim,
                                   kPlaneRotated};

inline constexpr Field kRowLevel{"level", 0, 1};
inline constexpr Field kRowReserved{"reserved_0", 1, 3};
inline constexpr Field kRowKl{"kl", 4, 4};
inline constexpr std::array kRow{kRowLevel, kRowReserved, kRowKl};

inline constexpr Field kSectionBytes{"bytes", 0, 4};
inline constexpr Field kSectionFlags{"flags", 4, 4};
inline constexpr Field kSectionXxh3{"xxh3", 8, 8};
inline constexpr std::array kSection{kSectionBytes, kSectionFlags, kSectionXxh3};

}  // namespace sluice::codec::layout
