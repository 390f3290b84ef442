// Reads the golden files of tests/golden/model.
#pragma once

#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "src/base/bytes.h"
#include "src/base/checksum.h"

namespace sluice {

inline nlohmann::json golden_json(const std::string& name) {
  std::ifstream file(std::string(SLUICE_SOURCE_DIR "/tests/golden/model/") + name);
  return nlohmann::json::parse(file);
}

inline Bytes hex_bytes(const nlohmann::json& text) {
  return *from_hex(text.get<std::string>());
}

inline std::string hex(const Hash32& hash) {
  return to_hex(hash);
}

}  // namespace sluice
