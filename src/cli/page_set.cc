#include "src/cli/page_set.h"

#include <algorithm>
#include <utility>

#include "src/base/limits.h"
#include "src/cli/page_file.h"
#include "src/cli/progress.h"
#include "src/client/encoded_page.h"

namespace sluice::cli {
namespace {

// Each key and the one before it.
std::vector<Hash32> parents(const std::vector<Hash32>& keys) {
  std::vector<Hash32> out(keys.size(), kRootKey);
  std::copy(keys.begin(),
            keys.empty() ? keys.end() : keys.end() - 1,
            out.empty() ? out.end() : out.begin() + 1);
  return out;
}

// A window's pages go with the full-attention page of their boundary, which group 0 is where there
// is one.
void add_groups_of_model(PageSet& set) {
  client::LlamaCache& cache = *set.sequence.cache;
  for (size_t g = 0; g < cache.groups(); ++g) {
    PageGroup group;
    group.space = &cache.space(g);
    group.keys = group.space->keys(set.sequence.tokens);
    const bool by_chain = g == 0 || set.sequence.manifest.groups[g].window == 0;
    group.anchors = by_chain ? parents(group.keys) : set.groups.front().keys;
    set.groups.push_back(std::move(group));
  }
}

Status open_space_of_file(const SequenceOptions& options, PageSet& set) {
  SLUICE_TRY(std::string bytes, read_file(options.descriptor, kDescriptorBytesMax + 1));
  Result<Descriptor> parsed = parse_descriptor(as_bytes(bytes));
  if (parsed.has_error()) {
    return SLUICE_ERR(parsed.error().code,
                      "{}: {}; expected the canonical bytes, as `sluice get` saves them",
                      options.descriptor,
                      parsed.error().text);
  }
  SLUICE_TRY(set.sequence.client, open_client(options.daemon));
  SLUICE_CHECK(add_profiles(*set.sequence.client, options.quality));
  SLUICE_TRY(set.space,
             client::Space::open(
                 *set.sequence.client, as_bytes(bytes), {.worst_kl = options.quality.worst_kl}));
  return {};
}

Status check_options(const SequenceOptions& options, const std::vector<std::string>& keys) {
  if (options.descriptor.empty() && !keys.empty()) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "page keys need their space: name its file with --descriptor");
  }
  if (options.descriptor.empty() && (options.model.empty() || options.tokens.empty())) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "--model and --tokens are needed (the GGUF file, and the file of token ids), "
                      "or --descriptor; inspect and verify also take page files");
  }
  if (!options.descriptor.empty() && !options.model.empty()) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "--model and --descriptor both name the space: leave one out");
  }
  if (!keys.empty() && !options.tokens.empty()) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "page keys and --tokens both name the pages: leave one out");
  }
  return {};
}

// The pages and rows that a budget of bytes gets.
Status choose_within(PageSet& set, uint64_t budget_bytes) {
  client::LlamaCache* cache = set.sequence.cache.get();
  client::Fit fit;
  if (cache != nullptr) {
    SLUICE_TRY(fit, cache->fit(set.sequence.tokens, kKlUnknown, budget_bytes));
  } else {
    PageGroup& only = set.groups.front();
    SLUICE_TRY(fit, only.space->fit(only.keys, kKlUnknown, budget_bytes));
  }
  for (size_t g = 0; g < set.groups.size(); ++g) {
    PageGroup& group = set.groups[g];
    group.rows = {.max_kl = fit.max_kl, .least_rows = 0};
    group.keys.resize(fit.pages);
    if (cache != nullptr) {  // of a window only the last pages
      const uint32_t n_tokens = fit.pages * group.space->page_geometry().n_tokens;
      group.first = llama_pages_needed(cache->layout(), static_cast<uint32_t>(g), n_tokens).first;
    }
  }
  return {};
}

}  // namespace

Result<std::vector<Hash32>> parse_keys(const std::vector<std::string>& texts) {
  std::vector<Hash32> out;
  for (const std::string& text : texts) {
    Result<Bytes> bytes = from_hex(text);
    Hash32 key{};
    if (bytes.has_error() || bytes->size() != key.size()) {
      return SLUICE_ERR(Errc::invalid_argument,
                        "'{}' is no page key; expected {} hex digits",
                        text,
                        2 * key.size());
    }
    std::copy(bytes->begin(), bytes->end(), key.begin());
    out.push_back(key);
  }
  return out;
}

size_t PageSet::pages() const {
  size_t out = 0;
  for (const PageGroup& group : groups) {
    out += group.keys.size() - group.first;
  }
  return out;
}

Result<PageSet> open_pages(const SequenceOptions& options,
                           const std::vector<std::string>& keys,
                           const OutputOptions& output) {
  SLUICE_CHECK(check_options(options, keys));
  SLUICE_TRY(std::vector<Hash32> parsed, parse_keys(keys));
  PageSet out;
  if (options.descriptor.empty()) {
    SLUICE_TRY(out.sequence, open_sequence(options, output));
    add_groups_of_model(out);
    out.in_order = true;
    return out;
  }
  if (!options.tokens.empty()) {
    SLUICE_TRY(out.sequence.tokens, read_tokens(options.tokens));
    out.in_order = true;
  }
  SLUICE_CHECK(open_space_of_file(options, out));
  PageGroup group;
  group.space = out.space.get();
  group.keys = out.in_order ? group.space->keys(out.sequence.tokens) : std::move(parsed);
  group.anchors =
      out.in_order ? parents(group.keys) : std::vector<Hash32>(group.keys.size(), kRootKey);
  out.groups.push_back(std::move(group));
  return out;
}

Status need_pages(const PageSet& set) {
  if (set.pages() != 0) {
    return {};
  }
  if (set.in_order) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "a sequence of {} tokens has no full page of {} tokens; name a longer one",
                      set.sequence.tokens.size(),
                      set.groups.front().space->page_geometry().n_tokens);
  }
  return SLUICE_ERR(Errc::invalid_argument,
                    "--descriptor names a space; name pages of it too, by their keys (get, rm) or "
                    "with --tokens");
}

std::map<Hash32, PagePlace> index_pages(const PageSet& set) {
  std::map<Hash32, PagePlace> out;
  for (const PageGroup& group : set.groups) {
    for (size_t i = 0; i < group.keys.size(); ++i) {
      out.emplace(group.keys[i], PagePlace{.group = &group, .index = i});
    }
  }
  return out;
}

Status choose_rows(PageSet& set, const QualityOptions& options) {
  if (options.bytes) {
    return choose_within(set, *options.bytes);
  }
  for (PageGroup& group : set.groups) {
    if (!options.level.empty()) {
      SLUICE_TRY(Descriptor descriptor, parse_descriptor(group.space->descriptor()));
      SLUICE_TRY(uint32_t kl, set.sequence.client->profiles.level_kl(descriptor, options.level));
      group.rows = {.max_kl = kl, .least_rows = 0};
    } else if (options.max_kl) {
      group.rows = {.max_kl = *options.max_kl, .least_rows = 0};
    }
  }
  return {};
}

Status fetch_pages(PageSet& set,
                   const std::string& label,
                   const OutputOptions& output,
                   const std::function<Status(const FetchedPage&)>& visit) {
  Progress bar(output, label, ProgressUnit::pages, set.pages());
  for (const PageGroup& group : set.groups) {
    for (size_t i = group.first; i < group.keys.size(); ++i) {
      Result<client::EncodedPage> got =
          group.space->get_encoded(group.keys[i], group.rows.max_kl, group.rows.least_rows);
      if (got.has_error() && got.error().code == Errc::damaged) {
        got = SLUICE_ERR(Errc::damaged,
                         "the daemon found it damaged and does not serve it; its log says where");
      } else if (got.has_error() && got.error().code != Errc::not_found) {
        return std::move(got).error();
      }
      const uint64_t size = got.has_value() ? got->bytes.size() : 0;
      FetchedPage page{
          .place = {.group = &group, .index = i}, .key = group.keys[i], .bytes = Bytes()};
      if (got.has_value()) {
        page.encoding_id = got->encoding_id;
        page.bytes = std::move(got->bytes);
      } else {
        page.bytes = got.error();
      }
      SLUICE_CHECK(visit(page));
      bar.add_page(size);
    }
  }
  return {};
}

Result<ByteSpan> check_fetched(const PageSet& set, const FetchedPage& page) {
  if (page.bytes.has_error()) {
    return page.bytes.error();
  }
  const ByteSpan whole = *page.bytes;
  Result<codec::PageHeader> header = client::verify_rows(whole);
  if (header.has_error()) {
    return SLUICE_ERR(Errc::damaged, "{}", header.error().text);
  }
  const client::Space& space = *page.place.group->space;
  if (header->page_key != page.key) {
    return SLUICE_ERR(Errc::damaged, "its header names page {}", to_hex(header->page_key));
  }
  if (!(header->geometry == space.page_geometry())) {
    return SLUICE_ERR(Errc::damaged, "its tensors do not have the shape of its space");
  }
  const uint64_t position = page.place.index * uint64_t{header->geometry.n_tokens};
  if (set.in_order && header->first_position != position) {
    return SLUICE_ERR(Errc::damaged,
                      "its first token stands at position {}, expected {}",
                      header->first_position,
                      position);
  }
  if (codec::encoding_id(whole.first(header->header_bytes())) != page.encoding_id) {
    return SLUICE_ERR(Errc::damaged,
                      "the daemon names encoding {}, its header makes another",
                      to_hex(page.encoding_id));
  }
  return whole;
}

}  // namespace sluice::cli
