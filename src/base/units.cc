#include "src/base/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <span>
#include <utility>

namespace sluice {
namespace {

using Unit = std::pair<std::string_view, uint64_t>;

constexpr auto kByteUnits = std::to_array<Unit>({
    {"", 1},
    {"B", 1},
    {"KiB", 1ull << 10},
    {"MiB", 1ull << 20},
    {"GiB", 1ull << 30},
    {"TiB", 1ull << 40},
    {"kB", 1000},
    {"MB", 1000'000},
    {"GB", 1000'000'000},
    {"TB", 1000'000'000'000},
});

constexpr auto kTimeUnits = std::to_array<Unit>({
    {"ms", 1},
    {"s", 1000},
    {"min", 60'000},
});

Result<uint64_t> parse(std::string_view text, std::span<const Unit> units, const char* example) {
  uint64_t number = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  if (!suffix.empty() && suffix.front() == ' ') {
    suffix.remove_prefix(1);
  }
  const auto* unit = std::find_if(units.data(),
                                  units.data() + units.size(),
                                  [suffix](const Unit& u) { return u.first == suffix; });
  if (problem != std::errc{} || unit == units.data() + units.size() ||
      number > std::numeric_limits<uint64_t>::max() / unit->second) {
    return SLUICE_ERR(Errc::bad_value, "'{}' is not a quantity like {}", text, example);
  }
  return number * unit->second;
}

}  // namespace

Result<uint64_t> parse_bytes(std::string_view text) {
  return parse(text, kByteUnits, "1GiB, 512MiB or 4096");
}

Result<uint64_t> parse_milliseconds(std::string_view text) {
  return parse(text, kTimeUnits, "250ms, 30s or 5min");
}

std::string format_bytes(uint64_t bytes) {
  constexpr std::array<const char*, 5> kNames = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kNames.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.3g} {}", value, kNames[unit]);
}

}  // namespace sluice
