// Where each field of a profile file stands; the tables of FORMAT.md, which a test compares with
// these. Planes and rows are those of page_layout.h. Private to codec/.
#pragma once

#include <array>
#include <cstdint>

#include "src/base/field.h"

namespace sluice::codec::profile_layout {

inline constexpr uint32_t kMagicValue = 0x52504c53;  // "SLPR"
inline constexpr uint32_t kVersionValue = 1;
inline constexpr size_t kHeaderBytes = 96;
inline constexpr size_t kFrequencyBytes = 8;
inline constexpr size_t kLayerBytes = 8;
inline constexpr size_t kBlockHeadBytes = 8;
inline constexpr size_t kChannelBytes = 8;
inline constexpr size_t kPairBytes = 8;
inline constexpr size_t kExtraHeadBytes = 8;
inline constexpr uint8_t kNoRotation = 255;

inline constexpr Field kMagic{"magic", 0, 4};
inline constexpr Field kVersion{"version", 4, 4};
inline constexpr Field kCheck{"check", 8, 8};
inline constexpr Field kProfileBytes{"profile_bytes", 16, 4};
inline constexpr Field kPlanes{"planes", 20, 1};
inline constexpr Field kRows{"rows", 21, 1};
inline constexpr Field kReserved0{"reserved_0", 22, 1};
inline constexpr Field kPairing{"pairing", 23, 1};
inline constexpr Field kModelDigest{"model_digest", 24, 32};
inline constexpr Field kLayers{"layers", 56, 4};
inline constexpr Field kFirstHead{"first_head", 60, 4};
inline constexpr Field kSinks{"sinks", 64, 4};
inline constexpr Field kPairs{"pairs", 68, 4};
inline constexpr Field kRotations{"rotations", 72, 2};
inline constexpr Field kNoteBytes{"note_bytes", 74, 2};
inline constexpr Field kExtrasBytes{"extras_bytes", 76, 4};
inline constexpr Field kReserved1{"reserved_1", 80, 16};
inline constexpr std::array kHeader{kMagic,
                                    kVersion,
                                    kCheck,
                                    kProfileBytes,
                                    kPlanes,
                                    kRows,
                                    kReserved0,
                                    kPairing,
                                    kModelDigest,
                                    kLayers,
                                    kFirstHead,
                                    kSinks,
                                    kPairs,
                                    kRotations,
                                    kNoteBytes,
                                    kExtrasBytes,
                                    kReserved1};
inline constexpr uint32_t kCheckedFrom = kProfileBytes.at;

inline constexpr Field kLayer{"layer", 0, 4};
inline constexpr Field kLayerRotation{"rotation", 4, 1};
inline constexpr Field kLayerReserved0{"reserved_0", 5, 3};
inline constexpr std::array kLayerEntry{kLayer, kLayerRotation, kLayerReserved0};

inline constexpr Field kExponent{"exponent", 0, 1};
inline constexpr Field kFiner{"finer", 1, 1};
inline constexpr Field kBasis{"basis", 2, 1};
inline constexpr Field kStages{"stages", 3, 1};
inline constexpr Field kMatrixChannels{"matrix_channels", 4, 2};
inline constexpr Field kBlockReserved0{"reserved_0", 6, 2};
inline constexpr std::array kBlockHead{
    kExponent, kFiner, kBasis, kStages, kMatrixChannels, kBlockReserved0};

inline constexpr Field kFirst{"first", 0, 2};
inline constexpr Field kSecond{"second", 2, 2};
inline constexpr Field kCosineField{"cosine", 4, 2};
inline constexpr Field kSineField{"sine", 6, 2};
inline constexpr std::array kPair{kFirst, kSecond, kCosineField, kSineField};

inline constexpr Field kMean{"mean", 0, 4};
inline constexpr Field kMantissa{"mantissa", 4, 2};
inline constexpr Field kShift{"shift", 6, 1};
inline constexpr Field kScale{"scale", 7, 1};
inline constexpr std::array kChannel{kMean, kMantissa, kShift, kScale};

inline constexpr Field kExtraKind{"kind", 0, 4};
inline constexpr Field kExtraBytes{"bytes", 4, 4};
inline constexpr std::array kExtraHead{kExtraKind, kExtraBytes};
inline constexpr uint32_t kExtraMarks = 1;
inline constexpr size_t kMarkBytes = 8;

// Ranges of the same tables.
inline constexpr int kExponentMin = -64, kExponentMax = 126;
inline constexpr int32_t kMeanMax = 1 << 22;  // either sign
inline constexpr uint32_t kMantissaMin = 1u << 14, kMantissaMax = (1u << 15) - 1;
inline constexpr uint32_t kShiftMin = 8, kShiftMax = 30;
inline constexpr uint32_t kFinerMax = 4;
inline constexpr uint32_t kStagesMax = 32;
inline constexpr uint32_t kMatrixChannelsMax = 256;

enum BasisKind : uint8_t { kIdentity = 0, kGivens = 1, kMatrices = 2 };

}  // namespace sluice::codec::profile_layout
