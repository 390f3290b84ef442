// RoPE in fixed point: turns of positions, and pairs of channels turned forwards and back
// (FORMAT.md, "Rotation").
//
// Private to codec/. Pure integers: the same on every machine. No allocation.
#pragma once

#include <cstdint>
#include <span>

namespace sluice::codec {

// cos and sin of a phase, in 1/2^30. The phase is a fraction of a turn, in 1/2^64.
struct Turn {
  int32_t cosine = 0;
  int32_t sine = 0;
};

Turn turn_of(uint64_t phase);

// cos and sin of one pair of channels for the tokens from `first_position` on.
// Requires: spans of one length.
void fill_turns(uint64_t frequency,
                uint64_t first_position,
                std::span<int32_t> cosines,
                std::span<int32_t> sines);

// Turns the pair (first, second) of every token, in place; unrotate turns them back.
// Requires: spans of one length, first^2 + second^2 < 2^48.
void rotate(std::span<const int32_t> cosines,
            std::span<const int32_t> sines,
            std::span<int32_t> first,
            std::span<int32_t> second);
void unrotate(std::span<const int32_t> cosines,
              std::span<const int32_t> sines,
              std::span<int32_t> first,
              std::span<int32_t> second);

}  // namespace sluice::codec
