// inspect, verify: what pages say of themselves, and whether they are whole.
#include <fmt/core.h>

#include <algorithm>
#include <functional>

#include "codec/codec.h"
#include "src/base/limits.h"
#include "src/cli/commands.h"
#include "src/cli/page_file.h"
#include "src/cli/page_set.h"
#include "src/cli/progress.h"
#include "src/client/encoded_page.h"

namespace sluice::cli {
namespace {

// A page file's bytes; or what the daemon serves, where it is the page that was asked for, whole.
using Visit = std::function<Status(const std::string& name, const Result<ByteSpan>& page)>;

// Calls `visit` for each page file, or for each page of the set that the daemon has. unreadable:
// takes the names that cannot be read.
Status for_each_page(const SequenceOptions& options,
                     const std::vector<std::string>& files,
                     const std::string& label,
                     const OutputOptions& output,
                     PageProblems& unreadable,
                     const Visit& visit) {
  if (files.empty()) {
    SLUICE_TRY(PageSet set, open_pages(options, {}, output));
    SLUICE_CHECK(need_pages(set));
    return fetch_pages(set, label, output, [&](const FetchedPage& page) -> Status {
      if (page.bytes.has_error() && page.bytes.error().code == Errc::not_found) {
        return {};
      }
      return visit(to_hex(page.key), check_fetched(set, page));
    });
  }
  const std::vector<std::string> paths = page_files(files, unreadable);
  Progress bar(output, label, ProgressUnit::pages, paths.size());
  for (const std::string& path : paths) {
    Result<std::string> bytes = read_page_file(path);
    if (bytes.has_error()) {
      unreadable.add(path, bytes.error());
    } else {
      SLUICE_CHECK(visit(path, ByteSpan(as_bytes(*bytes))));
    }
    bar.add_page(bytes.has_value() ? bytes->size() : 0);
  }
  return {};
}

double bits_per_element(const codec::PageHeader& header, uint64_t bytes) {
  return 8.0 * static_cast<double>(bytes) / static_cast<double>(header.geometry.elements());
}

uint64_t row_bytes(const codec::PageHeader& header, size_t row) {
  const size_t row_sections = header.sections.size() / header.rows.size();
  uint64_t bytes = 0;
  for (size_t i = row * row_sections; i < (row + 1) * row_sections; ++i) {
    bytes += header.sections[i].bytes;
  }
  return bytes;
}

// `bytes` of the page are there: it may lack its last rows.
nlohmann::json describe(const codec::PageHeader& header, uint64_t bytes) {
  nlohmann::json out = {{"key", to_hex(header.page_key)},
                        {"encoding", codec::encoding_name(header.encoding)},
                        {"first_position", header.first_position},
                        {"tokens", header.geometry.n_tokens},
                        {"layers", header.geometry.layers},
                        {"layers_per_section", header.layers_per_section},
                        {"provenance_kl", header.provenance_kl},
                        {"bytes", bytes},
                        {"bits_per_element", bits_per_element(header, bytes)},
                        {"sections", header.sections.size()}};
  if (header.encoding == codec::Encoding::progressive) {
    out["profile"] = to_hex(header.profile_digest);
  }
  const size_t stored = codec::rows_within(header, bytes);
  for (size_t i = 0; i < header.rows.size(); ++i) {
    const codec::Row& row = header.rows[i];
    out["rows"].push_back({{"level", codec::level_name(row.level)},
                           {"kl", row.kl},
                           {"bytes", row_bytes(header, i)},
                           {"stored", i < stored}});
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

void print(const std::string& name, const codec::PageHeader& header, uint64_t bytes) {
  fmt::print(
      "{}\n  key {}\n  {} tokens from position {}, {} layers, {} ({} bytes, {:.2f} bits an "
      "element), {} sections of {} layers\n",
      name,
      to_hex(header.page_key),
      header.geometry.n_tokens,
      header.first_position,
      header.geometry.layers,
      codec::encoding_name(header.encoding),
      bytes,
      bits_per_element(header, bytes),
      header.sections.size(),
      header.layers_per_section);
  for (const Plane& plane : header.geometry.planes) {
    fmt::print("  plane {}: {} heads of {} {}\n",
               role_name(plane.role),
               plane.heads,
               plane.dim,
               dtype_name(plane.dtype));
  }
  if (header.encoding == codec::Encoding::progressive) {
    fmt::print("  profile {}\n", to_hex(header.profile_digest));
  }
  const size_t stored = codec::rows_within(header, bytes);
  for (size_t i = 0; i < header.rows.size(); ++i) {
    fmt::print("  row {}: KL {} micro-nats, computed on KV of {}, {} bytes{}\n",
               codec::level_name(header.rows[i].level),
               header.rows[i].kl,
               header.provenance_kl,
               row_bytes(header, i),
               i < stored ? "" : ", not stored");
  }
}

// All that can be wrong with a page is found by decoding it. Of lossy pages the checksums have to
// do: what their sections mean is known to who has the profile.
Status check(const Result<ByteSpan>& page, codec::Workspace& workspace, Bytes& tensors) {
  SLUICE_TRY(const ByteSpan bytes, page);
  SLUICE_TRY(codec::PageHeader header, client::verify_rows(bytes));
  if (header.encoding == codec::Encoding::progressive) {
    return {};
  }
  tensors.resize(header.geometry.bytes());
  return codec::decode_page(header, bytes, tensors, workspace);
}

}  // namespace

Result<int> inspect(const SequenceOptions& options,
                    const std::vector<std::string>& files,
                    const std::string& save,
                    const OutputOptions& output) {
  if (!save.empty() && !files.empty()) {
    return SLUICE_ERR(Errc::invalid_argument, "--save writes a sequence's pages, not page files");
  }
  if (!save.empty()) {
    SLUICE_CHECK(make_folder(save));
  }
  nlohmann::json pages = nlohmann::json::array();
  size_t whole = 0;
  PageProblems problems;
  auto visit = [&](const std::string& name, const Result<ByteSpan>& page) -> Status {
    Result<codec::PageHeader> header = page.has_value() ? read_header(*page) : page.error();
    if (header.has_error()) {
      problems.add(name, header.error());
      return {};
    }
    ++whole;
    if (output.json) {
      pages.push_back(describe(*header, page->size()));
    } else {
      print(name, *header, page->size());
    }
    return save.empty() ? Status() : write_file(fmt::format("{}/{}.page", save, name), *page);
  };
  SLUICE_CHECK(for_each_page(options, files, "inspect", output, problems, visit));
  if (output.json) {
    pages.insert(pages.end(), problems.list().begin(), problems.list().end());
    print_document(pages);
  } else {
    problems.print();
    fmt::print("{} pages, {} with an error\n", whole, problems.size());
  }
  return whole != 0 ? problems.exit_code() : std::max(1, problems.exit_code());
}

Result<int> verify(const SequenceOptions& options,
                   const std::vector<std::string>& files,
                   const OutputOptions& output) {
  codec::Workspace workspace;
  Bytes tensors;
  size_t whole = 0;
  PageProblems damaged;
  PageProblems unreadable;
  auto visit = [&](const std::string& name, const Result<ByteSpan>& page) -> Status {
    Status checked = check(page, workspace, tensors);
    if (checked.has_value()) {
      ++whole;
    } else {
      damaged.add(name, checked.error());
    }
    return {};
  };
  SLUICE_CHECK(for_each_page(options, files, "verify", output, unreadable, visit));
  if (output.json) {
    print_document(
        {{"whole", whole}, {"damaged", damaged.list()}, {"unreadable", unreadable.list()}});
  } else {
    damaged.print();
    unreadable.print();
    fmt::print(
        "{} pages whole, {} damaged, {} unreadable\n", whole, damaged.size(), unreadable.size());
  }
  // Nothing to check is no good answer either.
  return std::max({whole == 0 ? 1 : 0, damaged.exit_code(), unreadable.exit_code()});
}

}  // namespace sluice::cli
