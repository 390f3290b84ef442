// put: page files into the daemon.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <tuple>

#include "src/base/limits.h"
#include "src/base/units.h"
#include "src/cli/commands.h"
#include "src/cli/exit_code.h"
#include "src/cli/page_file.h"
#include "src/cli/page_set.h"
#include "src/cli/progress.h"
#include "src/client/profile_transfer.h"
#include "src/client/put_window.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

struct PutFile {
  std::string path;
  PagePlace place;  // its group; index: of a sequence
  Hash32 anchor{};
  uint64_t position = 0;
  std::optional<Hash32> profile;  // that it is coded with
};

// What a `put` did.
struct PutCount {
  size_t pages = 0;
  size_t kept = 0;  // the daemon had as good a page
  uint64_t bytes = 0;
  PageProblems refused;
  PageProblems unreadable;
};

// Finds the place of a page file by its header.
Result<PutFile> place_file(const PageSet& set,
                           const std::map<Hash32, PagePlace>& places,
                           const std::string& path) {
  SLUICE_TRY(std::string front, read_page_file(path, kPageHeaderBytesMax));
  SLUICE_TRY(codec::PageHeader header, read_header(as_bytes(front)));
  PutFile out{.path = path, .place = {.group = &set.groups.front()}, .anchor = kRootKey};
  out.position = header.first_position;
  if (header.encoding == codec::Encoding::progressive) {
    out.profile = header.profile_digest;
  }
  if (!set.in_order) {
    return out;
  }
  auto found = places.find(header.page_key);
  if (found == places.end()) {
    return SLUICE_ERR(Errc::damaged,
                      "page {} is none of this sequence under these options",
                      to_hex(header.page_key));
  }
  out.place = found->second;
  out.anchor = out.place.group->anchors[out.place.index];
  const uint64_t expected = out.place.index * uint64_t{header.geometry.n_tokens};
  if (out.position != expected) {
    return SLUICE_ERR(Errc::damaged,
                      "its first token stands at position {}, expected {}",
                      out.position,
                      expected);
  }
  return out;
}

// What ends a put: the other pages would meet it too.
bool is_of_daemon(Errc code) {
  const Exit exit = exit_for(code);
  return exit == Exit::unreachable || code == Errc::no_space || code == Errc::io_error ||
         code == Errc::unsupported || code == Errc::protocol_error ||
         code == Errc::unknown_handle || code == Errc::identity_mismatch;
}

// Gives the daemon what the pages are coded with, which `sluice get` saves beside them. Where that
// is not there either, the daemon says so of each page.
Status offer_profiles(client::Client& client, std::span<const PutFile> files, PutCount& count) {
  std::set<Hash32> digests;
  std::set<fs::path> tried;
  for (const PutFile& file : files) {
    if (!file.profile) {
      continue;
    }
    digests.insert(*file.profile);
    const fs::path beside = fs::path(file.path).replace_filename(profile_file_name(*file.profile));
    std::error_code ignored;
    if (!client.profiles.file(*file.profile).empty() || !tried.insert(beside).second ||
        !fs::exists(beside, ignored)) {
      continue;
    }
    const Result<std::string> bytes = read_page_file(beside.string(), kProfileBytesMax + 1);
    const Status added =
        bytes.has_value() ? client.profiles.add(as_bytes(*bytes)) : Status(bytes.error());
    if (added.has_error()) {
      count.unreadable.add(beside.string(), added.error());
    }
  }
  return client::offer_profiles(client, digests);
}

// Puts the files of one space.
Status put_files(std::span<const PutFile> files, transport::Ack ack, Progress& bar, PutCount& out) {
  client::Space& space = *files.front().place.group->space;
  auto done = [&](const client::SentPage& page, const Result<bool>& taken) -> Status {
    const std::string& path = files[page.index].path;
    if (taken.has_error() && is_of_daemon(taken.error().code)) {
      return SLUICE_ERR(taken.error().code,
                        "after {} pages, at {}: {}",
                        out.pages + out.kept,
                        path,
                        taken.error().text);
    }
    bar.add_page(page.bytes);
    if (taken.has_error()) {
      out.refused.add(path, taken.error());
    } else if (*taken) {
      ++out.pages;
      out.bytes += page.bytes;
    } else {
      ++out.kept;
    }
    return {};
  };
  client::PutWindow window(space, ack, done);
  for (size_t i = 0; i < files.size(); ++i) {
    Result<std::string> bytes = read_page_file(files[i].path);
    if (bytes.has_error()) {
      out.unreadable.add(files[i].path, bytes.error());
      continue;
    }
    Result<Hash32> key = space.check_encoded(as_bytes(*bytes));
    if (key.has_error()) {
      out.refused.add(files[i].path, key.error());
      continue;
    }
    SLUICE_CHECK(window.send(i, *key, files[i].anchor, as_bytes(*bytes)));
  }
  return window.finish();
}

// The files by group and position, so that each page's anchor is there before it.
std::vector<PutFile> place_files(const PageSet& set,
                                 const std::vector<std::string>& paths,
                                 PutCount& count) {
  const std::map<Hash32, PagePlace> places = index_pages(set);
  std::vector<PutFile> out;
  for (const std::string& path : paths) {
    Result<PutFile> file = place_file(set, places, path);
    if (file.has_value()) {
      out.push_back(*std::move(file));
    } else if (file.error().code == Errc::damaged) {
      count.refused.add(path, file.error());
    } else {
      count.unreadable.add(path, file.error());
    }
  }
  std::sort(out.begin(), out.end(), [](const PutFile& a, const PutFile& b) {
    return std::tie(a.place.group, a.position, a.path) <
           std::tie(b.place.group, b.position, b.path);
  });
  return out;
}

void print_count(const PutCount& count, const OutputOptions& output) {
  if (output.json) {
    print_document({{"pages", count.pages},
                    {"kept", count.kept},
                    {"bytes", count.bytes},
                    {"refused", count.refused.list()},
                    {"unreadable", count.unreadable.list()}});
    return;
  }
  count.refused.print();
  count.unreadable.print();
  fmt::print("{} pages put ({}), {} were there already, {} refused, {} unreadable\n",
             count.pages,
             format_bytes(count.bytes),
             count.kept,
             count.refused.size(),
             count.unreadable.size());
}

}  // namespace

Result<int> put(const SequenceOptions& options,
                const PutOptions& what,
                const OutputOptions& output) {
  SLUICE_TRY(const std::vector<Hash32> anchor,
             parse_keys(what.anchor.empty() ? std::vector<std::string>()
                                            : std::vector<std::string>{what.anchor}));
  PutCount count;
  const std::vector<std::string> paths = page_files(what.files, count.unreadable);
  SLUICE_TRY(PageSet set, open_pages(options, {}, output));
  std::vector<PutFile> placed = place_files(set, paths, count);
  for (PutFile& file : placed) {
    file.anchor = anchor.empty() ? file.anchor : anchor.front();
  }
  SLUICE_CHECK(offer_profiles(*set.sequence.client, placed, count));
  Progress bar(output, "put", ProgressUnit::pages, placed.size());
  const auto ack = what.durable ? transport::Ack::disk : transport::Ack::ram;
  for (std::span<const PutFile> rest = placed; !rest.empty();) {
    const auto end = std::find_if(rest.begin(), rest.end(), [&](const PutFile& file) {
      return file.place.group != rest.front().place.group;
    });
    const auto n = static_cast<size_t>(end - rest.begin());
    SLUICE_CHECK(put_files(rest.first(n), ack, bar, count));
    rest = rest.subspan(n);
  }
  bar.finish();
  print_count(count, output);
  return std::max(count.refused.exit_code(), count.unreadable.exit_code());
}

}  // namespace sluice::cli
