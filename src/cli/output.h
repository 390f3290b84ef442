// What a command prints to standard output: text for people, or with --json one document.
#pragma once

#include <fmt/core.h>

#include <string>

#include <nlohmann/json.hpp>

namespace sluice::cli {

struct OutputOptions {
  bool json = false;
  bool quiet = false;  // no progress bars
};

// One document on a line of its own; bytes that are no UTF-8 (file names) are replaced.
inline void print_document(const nlohmann::json& document) {
  fmt::print("{}\n", document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace sluice::cli
