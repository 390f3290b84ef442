// The version of this build, from CMakeLists.txt.
#pragma once

namespace sluice {

inline constexpr const char* kVersion = SLUICE_VERSION;

}  // namespace sluice
