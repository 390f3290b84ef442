// put: page files into the daemon.
#include <fmt/core.h>

#include <algorithm>
#include <tuple>

#include "src/base/limits.h"
#include "src/base/units.h"
#include "src/cli/commands.h"
#include "src/cli/exit_code.h"
#include "src/cli/page_file.h"
#include "src/cli/page_set.h"
#include "src/cli/progress.h"

namespace sluice::cli {
namespace {

struct PutFile {
  std::string path;
  PagePlace place;  // its group; index: of a sequence
  Hash32 anchor{};
  uint64_t position = 0;
};

// What a `put` did.
struct PutCount {
  size_t pages = 0;
  size_t kept = 0;  // the daemon had as good a page
  uint64_t bytes = 0;
  nlohmann::json refused = nlohmann::json::array();
};

// Finds the place of a page file by its header.
Result<PutFile> place_file(const PageSet& set,
                           const std::map<Hash32, PagePlace>& places,
                           const std::string& path) {
  SLUICE_TRY(std::string front, read_file(path, kPageHeaderBytesMax));
  SLUICE_TRY(codec::PageHeader header, read_header(path, as_bytes(front)));
  PutFile out{.path = path, .place = {.group = &set.groups.front()}, .anchor = kRootKey};
  out.position = header.first_position;
  if (!set.in_order) {
    return out;
  }
  auto found = places.find(header.page_key);
  if (found == places.end()) {
    return SLUICE_ERR(Errc::damaged,
                      "{}: page {} is none of this sequence under these options",
                      path,
                      to_hex(header.page_key));
  }
  out.place = found->second;
  out.anchor = out.place.group->anchors[out.place.index];
  const uint64_t expected = out.place.index * uint64_t{header.geometry.n_tokens};
  if (out.position != expected) {
    return SLUICE_ERR(Errc::damaged,
                      "{}: its first token stands at position {}, expected {}",
                      path,
                      out.position,
                      expected);
  }
  return out;
}

bool is_of_daemon(Errc code) {
  const Exit exit = exit_for(code);
  return exit == Exit::unreachable || code == Errc::no_space || code == Errc::protocol_error ||
         code == Errc::unknown_handle || code == Errc::identity_mismatch;
}

Status put_file(const PutFile& file, PutCount& out) {
  SLUICE_TRY(std::string bytes, read_file(file.path, kPageBytesMax + 1));
  Result<bool> stored = file.place.group->space->put_encoded(as_bytes(bytes), file.anchor);
  if (stored.has_error()) {
    if (is_of_daemon(stored.error().code)) {
      return SLUICE_ERR(stored.error().code,
                        "after {} pages, at {}: {}",
                        out.pages + out.kept,
                        file.path,
                        stored.error().text);
    }
    out.refused.push_back(page_problem(file.path, stored.error().text));
    return {};
  }
  (*stored ? out.pages : out.kept) += 1;
  out.bytes += bytes.size();
  return {};
}

// The files by group and position, so that each page's anchor is there before it.
Result<std::vector<PutFile>> place_files(const PageSet& set,
                                         const std::vector<std::string>& paths,
                                         nlohmann::json& refused) {
  const std::map<Hash32, PagePlace> places = index_pages(set);
  std::vector<PutFile> out;
  for (const std::string& path : paths) {
    Result<PutFile> file = place_file(set, places, path);
    if (file.has_error() && file.error().code != Errc::damaged) {
      return std::move(file).error();
    }
    if (file.has_error()) {
      refused.push_back(page_problem(path, file.error().text));
    } else {
      out.push_back(*std::move(file));
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const PutFile& a, const PutFile& b) {
    return std::tuple(a.place.group, a.position) < std::tuple(b.place.group, b.position);
  });
  return out;
}

void print_count(const PutCount& count, const OutputOptions& output) {
  if (output.json) {
    print_document({{"pages", count.pages},
                    {"kept", count.kept},
                    {"bytes", count.bytes},
                    {"refused", count.refused}});
    return;
  }
  for (const auto& page : count.refused) {
    fmt::print("{}: {}\n", page["page"].get<std::string>(), page["error"].get<std::string>());
  }
  fmt::print("{} pages put ({}), {} were there already, {} refused\n",
             count.pages,
             format_bytes(count.bytes),
             count.kept,
             count.refused.size());
}

}  // namespace

Result<int> put(const SequenceOptions& options,
                const std::vector<std::string>& files,
                const std::string& anchor,
                const OutputOptions& output) {
  SLUICE_TRY(std::vector<Hash32> named, parse_keys({anchor.empty() ? to_hex(kRootKey) : anchor}));
  SLUICE_TRY(std::vector<std::string> paths, page_files(files));
  SLUICE_TRY(PageSet set, open_pages(options, {}, output));
  PutCount count;
  SLUICE_TRY(std::vector<PutFile> placed, place_files(set, paths, count.refused));
  Progress bar(output, "put", ProgressUnit::pages, placed.size());
  for (PutFile& file : placed) {
    if (!anchor.empty()) {
      file.anchor = named.front();
    }
    const uint64_t before = count.bytes;
    SLUICE_CHECK(put_file(file, count));
    bar.add_page(count.bytes - before);
  }
  bar.finish();
  print_count(count, output);
  return count.refused.empty() ? 0 : 1;
}

}  // namespace sluice::cli
