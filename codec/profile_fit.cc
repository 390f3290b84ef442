#include <algorithm>
#include <cmath>
#include <numbers>

#include "codec/profile.h"

namespace sluice::codec {
namespace {

// Frequencies that two programs compute from one rope differ by less: they use f32 at times.
constexpr double kFrequencyTolerance = 1.0 / (1 << 16);

Error differs(Errc code,
              std::string_view what,
              const std::string& profile,
              const std::string& page) {
  return SLUICE_ERR(code,
                    "profile: its {} is {}, that of the pages {}; give the profile that was "
                    "measured on this model and KV group, or none",
                    what,
                    profile,
                    page);
}

// YaRN's share of interpolation at a pair, between the pairs that turn `high` and `low` times
// within the original context.
double yarn_ramp(const Rope& rope, double pair, double dims) {
  auto pair_of = [&](double times) {
    return dims * std::log(rope.original_context / (times * 2 * std::numbers::pi)) /
           (2 * std::log(rope.base));
  };
  double first = std::max(std::floor(pair_of(rope.high)), 0.0);
  double last = std::min(std::ceil(pair_of(rope.low)), dims - 1);
  return std::clamp((pair - first) / std::max(last - first, 0.001), 0.0, 1.0);
}

double llama3_scaled(const Rope& rope, double radians) {
  double turns = rope.original_context * radians / (2 * std::numbers::pi);
  double keep = std::clamp((turns - rope.low) / (rope.high - rope.low), 0.0, 1.0);
  return radians * (keep + (1 - keep) / rope.factor);
}

// Radians a position of one pair. Source: transformers, modeling_rope_utils.py.
double frequency(const Rope& rope, size_t pair, size_t pairs) {
  double dims = 2.0 * static_cast<double>(pairs);
  double radians = std::pow(rope.base, -2.0 * static_cast<double>(pair) / dims);
  if (!rope.factors.empty()) {
    return pair < rope.factors.size() ? radians / static_cast<double>(rope.factors[pair]) : 0;
  }
  switch (rope.scaling) {
    case RopeScaling::linear:
      return radians / rope.factor;
    case RopeScaling::llama3:
      return llama3_scaled(rope, radians);
    case RopeScaling::yarn: {
      double ramp = yarn_ramp(rope, static_cast<double>(pair), dims);
      return radians * (1 - ramp + ramp / rope.factor);
    }
    default:
      return radians;
  }
}

Status check_frequencies(const Profile& profile, const Rope& rope) {
  for (size_t rotation = 0; rotation < profile.frequencies.size(); ++rotation) {
    const std::vector<uint64_t>& list = profile.frequencies[rotation];
    for (size_t pair = 0; pair < list.size(); ++pair) {
      double expected = frequency(rope, pair, list.size());
      double radians = std::ldexp(static_cast<double>(list[pair]), -64) * 2 * std::numbers::pi;
      if (!(std::abs(radians - expected) <= expected * kFrequencyTolerance)) {
        return differs(Errc::identity_mismatch,
                       fmt::format("rotation {} of pair {}", rotation, pair),
                       fmt::format("{:.9g} radians a position", radians),
                       fmt::format("{:.9g} ({} of base {}, scaling {})",
                                   expected,
                                   pairing_name(rope.pairing),
                                   rope.base,
                                   scaling_name(rope.scaling)));
      }
    }
  }
  return {};
}

}  // namespace

Status check_profile_geometry(const Profile& profile, const PageGeometry& geometry) {
  auto shape = [](const std::vector<Plane>& planes, size_t layers) {
    std::string text = fmt::format("{} layers", layers);
    for (const Plane& plane : planes) {
      text += fmt::format(" of {} {} x {} with {} rotated",
                          role_name(plane.role),
                          plane.heads,
                          plane.dim,
                          plane.rotated_dims);
    }
    return text;
  };
  std::string ours = shape(profile.planes, profile.layers.size());
  std::string theirs = shape(geometry.planes, geometry.layers);
  if (ours != theirs) {
    return differs(Errc::layout_mismatch, "shape", ours, theirs);
  }
  return {};
}

Status check_profile(const Profile& profile, const Descriptor& descriptor) {
  if (profile.model_digest != descriptor.model_digest) {
    return differs(Errc::identity_mismatch,
                   "model",
                   to_hex(profile.model_digest),
                   to_hex(descriptor.model_digest));
  }
  if (descriptor.lora_digest.has_value()) {
    return differs(Errc::identity_mismatch, "LoRA", "none", to_hex(*descriptor.lora_digest));
  }
  std::vector<uint32_t> layers;
  for (const LayerModel& layer : profile.layers) {
    layers.push_back(layer.layer);
  }
  if (layers != descriptor.layers || profile.first_head != descriptor.first_head) {
    auto range = [](const std::vector<uint32_t>& list, uint32_t head) {
      return fmt::format("{} from kv head {}", fmt::join(list, ","), head);
    };
    return differs(Errc::identity_mismatch,
                   "transformer layers",
                   range(layers, profile.first_head),
                   range(descriptor.layers, descriptor.first_head));
  }
  SLUICE_CHECK(check_profile_geometry(profile, geometry(descriptor)));
  if (profile.frequencies.empty()) {
    return {};
  }
  if (profile.pairing != descriptor.rope.pairing) {
    return differs(Errc::identity_mismatch,
                   "pairing",
                   std::string(pairing_name(profile.pairing)),
                   std::string(pairing_name(descriptor.rope.pairing)));
  }
  return check_frequencies(profile, descriptor.rope);
}

}  // namespace sluice::codec
