// get, rm: pages out of the daemon, into files or away.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "src/base/limits.h"
#include "src/base/units.h"
#include "src/cli/commands.h"
#include "src/cli/page_file.h"
#include "src/cli/page_set.h"
#include "src/client/profile_transfer.h"

namespace sluice::cli {
namespace {

// What a `get` did.
struct Saved {
  size_t pages = 0;
  uint64_t bytes = 0;
  size_t missing = 0;
  PageProblems damaged;
  std::set<Hash32> profiles;  // that pages are coded with
  PageProblems unsaved;       // of these
};

Status save_page(const PageSet& set,
                 const FetchedPage& page,
                 const std::string& folder,
                 Saved& out) {
  const std::string name = to_hex(page.key);
  if (page.bytes.has_error() && page.bytes.error().code == Errc::not_found) {
    ++out.missing;
    return {};
  }
  Result<ByteSpan> whole = check_fetched(set, page);
  if (whole.has_error()) {
    out.damaged.add(name, whole.error());
    return {};
  }
  SLUICE_CHECK(write_file(fmt::format("{}/{}.page", folder, name), *whole));
  ++out.pages;
  out.bytes += whole->size();
  SLUICE_TRY(const codec::PageHeader header, read_header(*whole));
  if (header.encoding == codec::Encoding::progressive) {
    out.profiles.insert(header.profile_digest);
  }
  return {};
}

// What whoever puts the pages into another daemon needs beside them.
Status save_spaces_and_profiles(const PageSet& set, const std::string& folder, Saved& saved) {
  for (const PageGroup& group : set.groups) {
    const std::string space = to_hex(group.space->id());
    SLUICE_CHECK(
        write_file(fmt::format("{}/{}.descriptor", folder, space), group.space->descriptor()));
  }
  client::Client& client = *set.sequence.client;
  for (const Hash32& digest : saved.profiles) {
    ByteSpan file = client.profiles.file(digest);
    Result<Bytes> fetched = Bytes();
    if (file.empty()) {
      fetched = client::get_profile(client, digest);
      file = fetched.has_value() ? ByteSpan(*fetched) : ByteSpan();
    }
    if (fetched.has_error()) {
      saved.unsaved.add(profile_file_name(digest), fetched.error());
      continue;
    }
    SLUICE_CHECK(write_file(fmt::format("{}/{}", folder, profile_file_name(digest)), file));
  }
  return {};
}

void print_saved(const Saved& saved, const std::string& folder) {
  saved.damaged.print();
  saved.unsaved.print();
  fmt::print("{} pages saved in {} ({}), {} missing, {} damaged\n",
             saved.pages,
             folder,
             format_bytes(saved.bytes),
             saved.missing,
             saved.damaged.size());
}

// How many of the keys are there.
Result<uint64_t> count_there(client::Space& space, std::span<const Hash32> keys) {
  uint64_t there = 0;
  for (const Hash32& key : keys) {
    SLUICE_TRY(uint32_t found, space.lookup({&key, 1}, kKlUnknown));
    there += found;
  }
  return there;
}

Result<uint64_t> erase_all(client::Space& space, std::span<const Hash32> keys) {
  uint64_t deleted = 0;
  for (size_t at = 0; at < keys.size(); at += kKeysMax) {
    const size_t count = std::min<size_t>(kKeysMax, keys.size() - at);
    SLUICE_TRY(uint32_t more, space.erase(keys.subspan(at, count)));
    deleted += more;
  }
  return deleted;
}

}  // namespace

Result<int> get(const SequenceOptions& options,
                const std::vector<std::string>& keys,
                const std::string& folder,
                const OutputOptions& output) {
  SequenceOptions any_quality = options;
  any_quality.quality.worst_kl = kKlUnknown;  // pages go to files, and say themselves what they are
  SLUICE_TRY(PageSet set, open_pages(any_quality, keys, output));
  SLUICE_CHECK(need_pages(set));
  SLUICE_CHECK(choose_rows(set, options.quality));
  SLUICE_CHECK(make_folder(folder));
  Saved saved;
  SLUICE_CHECK(fetch_pages(set, "get", output, [&](const FetchedPage& page) {
    return save_page(set, page, folder, saved);
  }));
  if (saved.pages != 0) {
    SLUICE_CHECK(save_spaces_and_profiles(set, folder, saved));
  }
  if (output.json) {
    print_document({{"folder", folder},
                    {"pages", saved.pages},
                    {"bytes", saved.bytes},
                    {"missing", saved.missing},
                    {"damaged", saved.damaged.list()},
                    {"profiles_unsaved", saved.unsaved.list()}});
  } else {
    print_saved(saved, folder);
  }
  // Of a sequence the end may be missing; a page that was named may not.
  const bool all = saved.pages != 0 && (keys.empty() || saved.missing == 0);
  return all && saved.damaged.size() == 0 && saved.unsaved.size() == 0 ? 0 : 1;
}

Result<int> remove_pages(const SequenceOptions& options,
                         const std::vector<std::string>& keys,
                         bool dry_run,
                         const OutputOptions& output) {
  SLUICE_TRY(PageSet set, open_pages(options, keys, output));
  SLUICE_CHECK(need_pages(set));
  uint64_t pages = 0;
  for (const PageGroup& group : set.groups) {
    SLUICE_TRY(
        uint64_t more,
        dry_run ? count_there(*group.space, group.keys) : erase_all(*group.space, group.keys));
    pages += more;
  }
  if (output.json) {
    print_document({{"named", set.pages()}, {"pages", pages}, {"dry_run", dry_run}});
  } else {
    fmt::print("{} of {} pages were there{}\n",
               pages,
               set.pages(),
               dry_run ? "; nothing was removed" : " and are removed");
  }
  return pages > 0 ? 0 : 1;
}

}  // namespace sluice::cli
