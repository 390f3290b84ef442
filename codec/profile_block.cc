#include "codec/profile_block.h"

#include <limits>

#include "codec/field_access.h"
#include "codec/profile_layout.h"
#include "codec/progressive_rom.h"

namespace sluice::codec {
namespace {

using namespace profile_layout;

constexpr std::string_view kWhat = "profile";
constexpr int16_t kLeastFactor = std::numeric_limits<int16_t>::min();

// One block, whose parts follow one another.
class BlockParser {
 public:
  BlockParser(ProfileParts& parts, const Plane& plane, uint32_t layer)
      : parts_(parts), plane_(plane), layer_(layer), at_(parts.offset()) {}

  Status parse(PlaneModel& model) {
    SLUICE_TRY(ByteSpan block,
               parts_.take(kBlockHeadBytes + plane_.width() * kChannelBytes, "blocks"));
    SLUICE_CHECK(expect_zero(block, kBlockReserved0, kWhat, at_));
    const uint32_t finer = load_field<uint8_t>(block, kFiner);
    model.step_bits = kStepBitsMin + finer;
    model.exponent = static_cast<int8_t>(load_field<uint8_t>(block, kExponent));
    if (model.exponent < kExponentMin || model.exponent > kExponentMax || finer > kFinerMax) {
      return SLUICE_ERR(Errc::bad_value,
                        "{}: exponent {}, finer {}, expected {}..{}, 0..{}",
                        place(),
                        model.exponent,
                        finer,
                        kExponentMin,
                        kExponentMax,
                        kFinerMax);
    }
    model.channels.reserve(plane_.width());
    for (ByteSpan rest = block.subspan(kBlockHeadBytes); !rest.empty();
         rest = rest.subspan(kChannelBytes)) {
      ChannelModel channel{.mean = static_cast<int32_t>(load_field<uint32_t>(rest, kMean)),
                           .mantissa = load_field<uint16_t>(rest, kMantissa),
                           .shift = load_field<uint8_t>(rest, kShift),
                           .scale = load_field<uint8_t>(rest, kScale)};
      SLUICE_CHECK(check_channel(channel, parts_.offset() - rest.size()));
      model.channels.push_back(channel);
    }
    return parse_basis(block.first(kBlockHeadBytes), model.basis);
  }

 private:
  std::string place() const {
    return fmt::format(
        "profile: block of layer {} plane {} at offset {}", layer_, role_name(plane_.role), at_);
  }

  Status parse_basis(ByteSpan head, Basis& basis) {
    const auto kind = load_field<uint8_t>(head, kBasis);
    const uint32_t stages = load_field<uint8_t>(head, kStages);
    const uint32_t size = load_field<uint16_t>(head, kMatrixChannels);
    const uint64_t width = plane_.width();
    const bool good =
        kind == kGivens     ? stages >= 1 && stages <= kStagesMax && size == 0 && width % 2 == 0
        : kind == kMatrices ? stages == 0 && size != 0 && size <= kMatrixChannelsMax &&
                                  width % size == 0 && size % plane_.dim == 0
                            : kind == kIdentity && stages == 0 && size == 0;
    if (!good) {
      return SLUICE_ERR(Errc::bad_value,
                        "{}: basis {} of {} stages and matrices of {} channels for {} x {}: "
                        "expected 0; 1 with 1..{} stages and an even width; or 2 with matrices of "
                        "whole heads that divide it, up to {} channels",
                        place(),
                        kind,
                        stages,
                        size,
                        plane_.heads,
                        plane_.dim,
                        kStagesMax,
                        kMatrixChannelsMax);
    }
    basis.matrix_channels = size;
    return kind == kGivens ? parse_stages(stages, width, basis) : parse_matrices(width, basis);
  }

  Status parse_stages(uint32_t stages, uint64_t width, Basis& basis) {
    for (uint32_t stage = 0; stage < stages; ++stage) {
      size_t at = parts_.offset();
      SLUICE_TRY(ByteSpan bytes, parts_.take(width / 2 * kPairBytes, "pairs"));
      std::vector<bool> taken(width);
      for (; !bytes.empty(); bytes = bytes.subspan(kPairBytes)) {
        const GivensPair pair{
            .first = load_field<uint16_t>(bytes, kFirst),
            .second = load_field<uint16_t>(bytes, kSecond),
            .cosine = static_cast<int16_t>(load_field<uint16_t>(bytes, kCosineField)),
            .sine = static_cast<int16_t>(load_field<uint16_t>(bytes, kSineField))};
        if (pair.first >= width || pair.second >= width || pair.first == pair.second ||
            taken[pair.first] || taken[pair.second] || pair.cosine == kLeastFactor ||
            pair.sine == kLeastFactor) {
          return SLUICE_ERR(Errc::bad_value,
                            "profile: stage {} at offset {}: pair {}, {} by {}, {}: expected two "
                            "channels of {} that no other pair of the stage has, factors above {}",
                            stage,
                            at,
                            pair.first,
                            pair.second,
                            pair.cosine,
                            pair.sine,
                            width,
                            kLeastFactor);
        }
        taken[pair.first] = taken[pair.second] = true;
        basis.pairs.push_back(pair);
      }
    }
    return {};
  }

  Status parse_matrices(uint64_t width, Basis& basis) {
    SLUICE_TRY(ByteSpan bytes,
               parts_.take(width * basis.matrix_channels * sizeof(int16_t), "matrices"));
    basis.matrices.resize(bytes.size() / sizeof(int16_t));
    for (size_t i = 0; i < basis.matrices.size(); ++i) {
      basis.matrices[i] = static_cast<int16_t>(load_le<uint16_t>(bytes.data() + 2 * i));
      if (basis.matrices[i] == kLeastFactor) {
        return SLUICE_ERR(Errc::bad_value,
                          "profile: matrices end at offset {}: factor {} of them is {}",
                          parts_.offset(),
                          i,
                          kLeastFactor);
      }
    }
    return {};
  }

  static Status check_channel(const ChannelModel& channel, size_t at) {
    bool good = channel.mean >= -kMeanMax && channel.mean <= kMeanMax &&
                channel.mantissa >= kMantissaMin && channel.mantissa <= kMantissaMax &&
                channel.shift >= kShiftMin && channel.shift <= kShiftMax && channel.scale < kScales;
    if (!good) {
      return SLUICE_ERR(Errc::bad_value,
                        "profile: channel at offset {}: mean {}, mantissa {}, shift {}, scale {}: "
                        "expected within {}, {}..{}, {}..{}, below {}",
                        at,
                        channel.mean,
                        channel.mantissa,
                        channel.shift,
                        channel.scale,
                        kMeanMax,
                        kMantissaMin,
                        kMantissaMax,
                        kShiftMin,
                        kShiftMax,
                        kScales);
    }
    return {};
  }

  ProfileParts& parts_;
  const Plane& plane_;
  uint32_t layer_;
  size_t at_;  // of the block in the file
};

}  // namespace

Status parse_block(ProfileParts& parts, const Plane& plane, uint32_t layer, PlaneModel& model) {
  return BlockParser(parts, plane, layer).parse(model);
}

}  // namespace sluice::codec
