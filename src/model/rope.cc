#include "src/model/rope.h"

#include <array>
#include <cmath>

namespace sluice {
namespace {

// Which fields of Rope a scaling may set.
struct Uses {
  bool factor, original, low_high, attention, factors, beyond;
};

constexpr std::array<Uses, 5> kUses = {{
    {false, false, false, false, false, false},  // none
    {true, false, false, false, false, false},   // linear
    {true, true, true, false, true, false},      // llama3
    {true, true, true, true, false, false},      // yarn
    {false, true, false, true, true, true},      // longrope
}};

// Zero has one spelling: a second one would be a second name for the same space.
bool is_number(double value, bool used) {
  return used ? std::isfinite(value) && !std::signbit(value) : value == 0 && !std::signbit(value);
}

Status check_list(const std::vector<float>& list, bool used, std::string_view what) {
  bool good = used || list.empty();
  for (float divisor : list) {
    good = good && std::isfinite(divisor) && divisor > 0;
  }
  if (!good) {
    return SLUICE_ERR(Errc::bad_value,
                      "rope {}: {} numbers, expected {}",
                      what,
                      list.size(),
                      used ? "positive finite ones" : "none for this scaling");
  }
  return {};
}

Status check_scaling(const Rope& rope) {
  const Uses& uses = kUses[static_cast<size_t>(rope.scaling)];
  bool good = is_number(rope.factor, uses.factor) && is_number(rope.low, uses.low_high) &&
              is_number(rope.high, uses.low_high) &&
              is_number(rope.attention_factor, uses.attention) &&
              (uses.original || rope.original_context == 0);
  if (!good) {
    return SLUICE_ERR(Errc::bad_value,
                      "rope scaling {}: factor {}, context {}, low {}, high {}, attention {}: used "
                      "ones must be finite and not negative, others zero",
                      scaling_name(rope.scaling),
                      rope.factor,
                      rope.original_context,
                      rope.low,
                      rope.high,
                      rope.attention_factor);
  }
  SLUICE_CHECK(check_list(rope.factors, uses.factors, "factors"));
  SLUICE_CHECK(check_list(rope.factors_beyond, uses.beyond, "factors beyond"));
  bool by_list = uses.factors && !rope.factors.empty();
  if (rope.scaling != RopeScaling::none && !by_list && !(rope.factor > 0)) {
    return SLUICE_ERR(Errc::bad_value,
                      "rope scaling {}: neither a factor nor a list of them",
                      scaling_name(rope.scaling));
  }
  return {};
}

}  // namespace

std::string_view pairing_name(RopePairing pairing) {
  switch (pairing) {
    case RopePairing::none:
      return "none";
    case RopePairing::neox:
      return "neox";
    case RopePairing::interleaved:
      return "interleaved";
  }
  return "unknown";
}

std::string_view scaling_name(RopeScaling scaling) {
  switch (scaling) {
    case RopeScaling::none:
      return "none";
    case RopeScaling::linear:
      return "linear";
    case RopeScaling::llama3:
      return "llama3";
    case RopeScaling::yarn:
      return "yarn";
    case RopeScaling::longrope:
      return "longrope";
  }
  return "unknown";
}

Rope rope_in_use(const Rope& rope, uint32_t n_ctx) {
  Rope used = rope;
  if (n_ctx > rope.original_context && !rope.factors_beyond.empty()) {
    used.factors = rope.factors_beyond;
  }
  used.factors_beyond.clear();
  return used;
}

Status validate(const Rope& rope) {
  if (pairing_name(rope.pairing) == "unknown" || scaling_name(rope.scaling) == "unknown") {
    return SLUICE_ERR(Errc::bad_value,
                      "rope pairing {} or scaling {} is none that this version knows",
                      static_cast<unsigned>(rope.pairing),
                      static_cast<unsigned>(rope.scaling));
  }
  if (rope.pairing == RopePairing::none) {
    if (!(rope == Rope{}) || std::signbit(rope.base)) {
      return SLUICE_ERR(Errc::bad_value, "rope of pairing none has a base or a scaling");
    }
    return {};
  }
  if (!std::isfinite(rope.base) || rope.base <= 0) {
    return SLUICE_ERR(Errc::bad_value, "rope base {} is no positive number", rope.base);
  }
  return check_scaling(rope);
}

}  // namespace sluice
