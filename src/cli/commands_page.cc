// inspect, verify: what pages say of themselves, and whether they are whole.
#include <fmt/core.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>

#include <nlohmann/json.hpp>

#include "codec/codec.h"
#include "src/cli/commands.h"

namespace sluice::cli {
namespace {

// Calls `visit(name, bytes)` for each page file, or for each page of the sequence that the daemon
// serves, from the first on.
Status for_each_page(const SequenceOptions& options,
                     const std::vector<std::string>& files,
                     const std::function<Status(const std::string&, ByteSpan)>& visit) {
  for (const std::string& path : files) {
    SLUICE_TRY(std::string bytes, read_file(path));
    SLUICE_CHECK(visit(path, as_bytes(bytes)));
  }
  if (!files.empty()) {
    return {};
  }
  SLUICE_TRY(Sequence sequence, open_sequence(options));
  for (size_t g = 0; g < sequence.cache->groups(); ++g) {
    client::Space& space = sequence.cache->space(g);
    const std::vector<Hash32> keys = space.keys(sequence.tokens);
    SLUICE_TRY(uint32_t n_pages, space.lookup(keys, 0));
    for (uint32_t page = 0; page < n_pages; ++page) {
      // What the daemon refuses to serve is shown like what is found damaged here.
      Result<Bytes> bytes = space.get_encoded(keys[page], 0);
      if (bytes.has_error() && bytes.error().code != Errc::damaged) {
        return std::move(bytes).error();
      }
      SLUICE_CHECK(visit(to_hex(keys[page]), bytes.has_value() ? *bytes : Bytes()));
    }
  }
  return {};
}

double bits_per_element(const codec::PageHeader& header) {
  return 8.0 * static_cast<double>(header.page_bytes()) /
         static_cast<double>(header.geometry.elements());
}

nlohmann::json describe(const codec::PageHeader& header) {
  nlohmann::json out = {{"key", to_hex(header.page_key)},
                        {"encoding", codec::encoding_name(header.encoding)},
                        {"first_position", header.first_position},
                        {"tokens", header.geometry.n_tokens},
                        {"layers", header.geometry.layers},
                        {"layers_per_section", header.layers_per_section},
                        {"provenance_kl", header.provenance_kl},
                        {"bytes", header.page_bytes()},
                        {"bits_per_element", bits_per_element(header)},
                        {"sections", header.sections.size()}};
  for (const codec::Row& row : header.rows) {
    out["rows"].push_back({{"level", codec::level_name(row.level)}, {"kl", row.kl}});
  }
  for (size_t i = 0; i < header.geometry.planes.size(); ++i) {
    const Plane& plane = header.geometry.planes[i];
    out["planes"].push_back({{"role", role_name(plane.role)},
                             {"dtype", dtype_name(plane.dtype)},
                             {"stored", dtype_name(header.stored[i])},
                             {"heads", plane.heads},
                             {"dim", plane.dim}});
  }
  return out;
}

void print(const std::string& name, const codec::PageHeader& header) {
  fmt::print(
      "{}\n  key {}\n  {} tokens from position {}, {} layers, {} ({} bytes, {:.2f} bits an "
      "element), {} sections of {} layers\n",
      name,
      to_hex(header.page_key),
      header.geometry.n_tokens,
      header.first_position,
      header.geometry.layers,
      codec::encoding_name(header.encoding),
      header.page_bytes(),
      bits_per_element(header),
      header.sections.size(),
      header.layers_per_section);
  for (const Plane& plane : header.geometry.planes) {
    fmt::print("  plane {}: {} heads of {} {}\n",
               role_name(plane.role),
               plane.heads,
               plane.dim,
               dtype_name(plane.dtype));
  }
  for (const codec::Row& row : header.rows) {
    fmt::print("  row {}: KL {} micro-nats, computed on KV of {}\n",
               codec::level_name(row.level),
               row.kl,
               header.provenance_kl);
  }
}

Status write_page(const std::string& path, ByteSpan bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) {
    return SLUICE_ERR(Errc::io_error, "cannot write {}: {}", path, std::strerror(errno));
  }
  return {};
}

// All that can be wrong with a page is found by decoding it.
Status check(ByteSpan bytes, codec::Workspace& workspace, Bytes& tensors) {
  SLUICE_TRY(codec::PageHeader header, codec::verify_page(bytes));
  tensors.resize(header.geometry.bytes());
  return codec::decode_page(header, bytes, tensors, workspace);
}

}  // namespace

Result<int> inspect(const SequenceOptions& options,
                    const std::vector<std::string>& files,
                    const std::string& save,
                    bool json) {
  if (!save.empty() && !files.empty()) {
    return SLUICE_ERR(Errc::invalid_argument, "--save writes a sequence's pages, not page files");
  }
  nlohmann::json pages = nlohmann::json::array();
  auto visit = [&](const std::string& name, ByteSpan bytes) -> Status {
    Result<codec::PageHeader> header = codec::parse_page_header(bytes);
    if (header.has_error()) {
      return SLUICE_ERR(header.error().code, "{}: {}", name, header.error().text);
    }
    if (json) {
      pages.push_back(describe(*header));
    } else {
      print(name, *header);
    }
    return save.empty() ? Status() : write_page(fmt::format("{}/{}.page", save, name), bytes);
  };
  SLUICE_CHECK(for_each_page(options, files, visit));
  if (json) {
    fmt::print("{}\n", pages.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return 0;
}

Result<int> verify(const SequenceOptions& options,
                   const std::vector<std::string>& files,
                   bool json) {
  codec::Workspace workspace;
  Bytes tensors;
  size_t whole = 0;
  nlohmann::json damaged = nlohmann::json::array();
  auto visit = [&](const std::string& name, ByteSpan bytes) -> Status {
    Status checked = check(bytes, workspace, tensors);
    if (checked.has_value()) {
      ++whole;
      return {};
    }
    damaged.push_back({{"page", name}, {"error", checked.error().text}});
    if (!json) {
      fmt::print("{}: {}\n", name, checked.error().text);
    }
    return {};
  };
  SLUICE_CHECK(for_each_page(options, files, visit));
  if (json) {
    fmt::print("{}\n",
               nlohmann::json({{"whole", whole}, {"damaged", damaged}})
                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{} pages whole, {} damaged\n", whole, damaged.size());
  }
  return damaged.empty() ? 0 : 1;
}

}  // namespace sluice::cli
