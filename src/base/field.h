// Where a field of a byte format stands: what its table in the specification says and its code
// uses.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

struct Field {
  std::string_view name;
  uint32_t at = 0;
  uint32_t bytes = 0;
};

}  // namespace sluice
