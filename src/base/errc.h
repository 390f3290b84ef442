// The one list of errors. The numbers are the wire status (PROTOCOL.md), spaced by family and never
// reused. Every enumerator has a test that provokes it (tests/tidy checks).
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

enum class Errc : uint32_t {
  ok = 0,

  // What a caller did.
  invalid_argument = 1,
  unsupported = 2,
  too_large = 3,
  output_too_small = 4,

  // What bytes said.
  truncated = 20,
  bad_magic = 21,
  bad_version = 22,
  reserved_set = 23,
  bad_checksum = 24,
  bad_value = 25,

  // What does not fit together.
  identity_mismatch = 40,
  unknown_handle = 41,
  layout_mismatch = 42,

  // What the store answers.
  not_found = 60,
  no_space = 61,
  damaged = 62,

  // What the connection did.
  connection_lost = 80,
  timed_out = 81,
  protocol_error = 82,
  overloaded = 83,
  draining = 84,

  // What the machine did.
  io_error = 100,
  bad_config = 101,
};

// The enumerator's name, or "unknown" for a number that this version does not know.
std::string_view errc_name(Errc code);

// The Errc of a number from the wire; numbers that this version does not know become
// protocol_error.
Errc errc_from_wire(uint32_t status);

}  // namespace sluice
