// explain-miss: what of a sequence is there, and what keeps the rest away.
#include <fmt/core.h>

#include "src/base/limits.h"
#include "src/cli/commands.h"
#include "src/cli/page_set.h"

namespace sluice::cli {
namespace {

// What is there of one KV group.
struct GroupAnswer {
  size_t layers = 0;
  uint32_t window = 0;
  size_t pages = 0;
  size_t pages_there = 0;    // anywhere in the sequence, for an exact reader
  size_t first_missing = 0;  // index of the first page that is not; `pages` where none is missing
  std::string miss_reason;   // where no page is there
};

Result<GroupAnswer> ask(PageSet& set, size_t group) {
  const PageGroup& own = set.groups[group];
  const KvGroup& kv = set.sequence.manifest.groups[group];
  GroupAnswer out{.layers = kv.layers.size(), .window = kv.window, .pages = own.keys.size()};
  if (own.keys.empty()) {
    out.miss_reason =
        fmt::format("the sequence of {} tokens has no full page", set.sequence.tokens.size());
    return out;
  }
  SLUICE_TRY(uint32_t prefix, own.space->lookup(own.keys, 0));
  out.miss_reason = set.sequence.client->miss_reason;
  out.first_missing = prefix;
  out.pages_there = prefix;
  // Of a window's pages the first ones need not be there.
  for (size_t i = prefix; i < own.keys.size(); ++i) {
    SLUICE_TRY(uint32_t there, own.space->lookup({&own.keys[i], 1}, 0));
    out.pages_there += there;
  }
  if (out.pages_there != 0) {
    out.miss_reason.clear();
  }
  return out;
}

nlohmann::json describe(const GroupAnswer& answer, size_t group) {
  return {{"group", group},
          {"attention", answer.window == 0 ? "full" : "window"},
          {"window", answer.window},
          {"layers", answer.layers},
          {"pages", answer.pages},
          {"pages_there", answer.pages_there},
          {"first_missing", answer.first_missing},
          {"miss_reason", answer.miss_reason}};
}

void print(const GroupAnswer& answer, size_t group, uint32_t page_tokens) {
  fmt::print(
      "group {} ({} layers, {}): {} of {} pages are there\n",
      group,
      answer.layers,
      answer.window == 0 ? "full attention" : fmt::format("window of {} tokens", answer.window),
      answer.pages_there,
      answer.pages);
  if (!answer.miss_reason.empty()) {
    fmt::print("  why none: {}\n", answer.miss_reason);
  } else if (answer.first_missing < answer.pages) {
    const size_t first = answer.first_missing * page_tokens;
    fmt::print(
        "  the first that is missing holds tokens {} to {}\n", first, first + page_tokens - 1);
  }
}

}  // namespace

Result<int> explain_miss(const SequenceOptions& options, const OutputOptions& output) {
  SLUICE_TRY(PageSet set, open_pages(options, {}, output));
  if (set.sequence.cache == nullptr) {
    return SLUICE_ERR(Errc::invalid_argument, "a miss is explained for --model and --tokens");
  }
  SLUICE_TRY(uint32_t n_tokens, set.sequence.cache->lookup(set.sequence.tokens, 0));
  nlohmann::json groups = nlohmann::json::array();
  if (!output.json) {
    fmt::print("{} of {} tokens can be restored\n", n_tokens, set.sequence.tokens.size());
  }
  for (size_t g = 0; g < set.groups.size(); ++g) {
    SLUICE_TRY(GroupAnswer answer, ask(set, g));
    if (output.json) {
      groups.push_back(describe(answer, g));
    } else {
      print(answer, g, set.groups[g].space->page_geometry().n_tokens);
    }
  }
  if (output.json) {
    print_document({{"tokens", set.sequence.tokens.size()},
                    {"tokens_there", n_tokens},
                    {"hit", n_tokens > 0},
                    {"groups", groups}});
  }
  return n_tokens > 0 ? 0 : 1;
}

}  // namespace sluice::cli
