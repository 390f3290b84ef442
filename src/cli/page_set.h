// The pages that a command is about: of a sequence, by keys, or both by a descriptor file.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/base/limits.h"
#include "src/cli/sequence.h"

namespace sluice::cli {

// Which rows of pages are fetched: the fewest within max_kl, but least_rows, if they are stored.
struct WantedRows {
  uint32_t max_kl = kKlUnknown;
  uint32_t least_rows = codec::kRowsMax;
};

// Keys of one space, and what each is evicted with.
struct PageGroup {
  client::Space* space = nullptr;
  std::vector<Hash32> keys;
  size_t first = 0;             // of keys, that is wanted
  std::vector<Hash32> anchors;  // of keys[i]; kRootKey for none
  WantedRows rows;              // all that are stored
};

// Opened spaces and the keys in them. The parts are destroyed in the right order.
struct PageSet {
  Sequence sequence;                     // of a model
  std::unique_ptr<client::Space> space;  // of a descriptor file
  std::vector<PageGroup> groups;
  bool in_order = false;  // keys[i] is page i of a sequence

  size_t pages() const;
};

// A place in a PageSet.
struct PagePlace {
  const PageGroup* group = nullptr;
  size_t index = 0;
};

// keys: hex, in a descriptor's space; empty for the pages of the sequence.
// Errors: invalid_argument (not enough said, or too much), as open_sequence and
// client::Space::open.
Result<PageSet> open_pages(const SequenceOptions& options,
                           const std::vector<std::string>& keys,
                           const OutputOptions& output);

// That the set has a page. Errors: invalid_argument (says what to name).
Status need_pages(const PageSet& set);

// Keys of their hex digits. Errors: invalid_argument (names the one that is none).
Result<std::vector<Hash32>> parse_keys(const std::vector<std::string>& texts);

// Where each key stands in the set, which must stay where it is.
std::map<Hash32, PagePlace> index_pages(const PageSet& set);

// One page of the set as the daemon answered.
struct FetchedPage {
  PagePlace place;
  Hash32 key{};
  Result<Bytes> bytes;              // or not_found, damaged
  codec::EncodingId encoding_id{};  // what the daemon calls it
};

// Gives the groups the rows that the options ask for; of a budget of bytes the keys too that the
// longest prefix of it needs. Errors: invalid_argument (level), not_found (no profile says what
// the level costs), as a request.
Status choose_rows(PageSet& set, const QualityOptions& options);

// Gets the rows that are wanted of each page of the set and calls `visit`, with a bar.
// Errors: as a request, and what `visit` answers.
Status fetch_pages(PageSet& set,
                   const std::string& label,
                   const OutputOptions& output,
                   const std::function<Status(const FetchedPage&)>& visit);

// The bytes, where they are the page that was asked for, its rows whole: key, shape, position,
// encoding, every section. Errors: damaged (the text says what differs; names section and offset),
// and what page.bytes answers.
Result<ByteSpan> check_fetched(const PageSet& set, const FetchedPage& page);

}  // namespace sluice::cli
