// How a KV group's keys carry their positions: RoPE pairing, base and scaling.
// Values only: nothing here rotates (codec/rotation.h does). Part of the identity (IDENTITY.md,
// "Descriptor").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/result.h"

namespace sluice {

// Which channels of a head turn together. On the wire: DO NOT CHANGE THESE VALUES.
enum class RopePairing : uint8_t {
  none = 0,         // no position in the keys
  neox = 1,         // channel i with i + dims/2
  interleaved = 2,  // channel 2i with 2i + 1
};

// How the frequencies differ from base^(-2i/dims). On the wire: DO NOT CHANGE THESE VALUES.
enum class RopeScaling : uint8_t {
  none = 0,
  linear = 1,
  llama3 = 2,
  yarn = 3,
  longrope = 4,
};

// RoPE of one KV group. Fields that the scaling does not use are zero, so that equal RoPE has equal
// bytes. How many channels turn is each plane's rotated_dims.
struct Rope {
  RopePairing pairing = RopePairing::none;
  double base = 0;
  RopeScaling scaling = RopeScaling::none;
  double factor = 0;                  // linear, llama3, yarn
  uint32_t original_context = 0;      // tokens: llama3, yarn, longrope
  double low = 0;                     // llama3: low_freq_factor; yarn: beta_slow
  double high = 0;                    // llama3: high_freq_factor; yarn: beta_fast
  double attention_factor = 0;        // yarn, longrope; 0: the scaling's own default
  std::vector<float> factors;         // frequency divisors, one a pair (longrope; llama3 of a GGUF)
  std::vector<float> factors_beyond;  // longrope: those of contexts beyond original_context;
                                      // empty once in_use() has chosen

  bool operator==(const Rope&) const = default;
};

// The rope of an engine whose context has n_ctx tokens: longrope takes one list or the other, and
// the keys depend on which. Other scalings come back unchanged.
Rope rope_in_use(const Rope& rope, uint32_t n_ctx);

// "neox", "unknown"; "yarn", "unknown".
std::string_view pairing_name(RopePairing pairing);
std::string_view scaling_name(RopeScaling scaling);

// Checks kinds, finite positive numbers, and that unused fields are zero. Errors: bad_value.
Status validate(const Rope& rope);

}  // namespace sluice
