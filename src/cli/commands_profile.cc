// profile: what a profile file was measured on, and what its levels cost.
#include <fmt/core.h>

#include "codec/profile.h"
#include "src/base/limits.h"
#include "src/cli/commands.h"
#include "src/cli/page_file.h"

namespace sluice::cli {
namespace {

Result<codec::Profile> read_profile(const std::string& path) {
  SLUICE_TRY(std::string file, read_file(path, kProfileBytesMax + 1));
  Result<codec::Profile> profile = codec::parse_profile(as_bytes(file), RopePairing::neox);
  if (profile.has_error()) {
    return SLUICE_ERR(profile.error().code, "{}: {}", path, profile.error().text);
  }
  return profile;
}

nlohmann::json describe(const codec::Profile& profile) {
  nlohmann::json out = {{"digest", to_hex(profile.digest)},
                        {"model_digest", to_hex(profile.model_digest)},
                        {"layers", profile.layers.size()},
                        {"sinks", profile.sinks},
                        {"note", profile.note}};
  for (const codec::Row& row : profile.rows) {
    out["levels"].push_back({{"level", codec::level_name(row.level)}, {"kl", row.kl}});
  }
  for (const Plane& plane : profile.planes) {
    out["planes"].push_back({{"role", role_name(plane.role)},
                             {"heads", plane.heads},
                             {"dim", plane.dim},
                             {"rotated_dims", plane.rotated_dims}});
  }
  return out;
}

void print(const std::string& path, const codec::Profile& profile) {
  fmt::print("{}\n  digest {}\n  of model {}, {} layers from layer {}\n",
             path,
             to_hex(profile.digest),
             to_hex(profile.model_digest),
             profile.layers.size(),
             profile.layers.front().layer);
  for (const codec::Row& row : profile.rows) {
    fmt::print("  level {}: KL {} micro-nats\n", codec::level_name(row.level), row.kl);
  }
  // Quoted and in ASCII: it is whatever the file says, and goes to a terminal.
  const nlohmann::json note = profile.note;
  fmt::print("  note: {}\n", note.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

}  // namespace

Result<int> profile(const std::vector<std::string>& files, const OutputOptions& output) {
  nlohmann::json list = nlohmann::json::array();
  for (const std::string& path : files) {
    SLUICE_TRY(const codec::Profile found, read_profile(path));
    if (output.json) {
      list.push_back(describe(found));
    } else {
      print(path, found);
    }
  }
  if (output.json) {
    print_document(list);
  }
  return 0;
}

}  // namespace sluice::cli
