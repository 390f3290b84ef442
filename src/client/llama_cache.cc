#include "src/client/llama_cache.h"

#include <algorithm>
#include <utility>

namespace sluice::client {
namespace {

// A page that was damaged on its way is whole the second time. One that is refused twice is left
// out of the last round: the daemon may find whole what this client refuses. A store that loses
// pages faster than that is not worth more time.
constexpr int kLoadRoundsMax = 3;

Descriptor describe(const KvGroup& group,
                    const PageGeometry& page,
                    const Hash32& model_digest,
                    const LlamaCacheOptions& options,
                    uint32_t n_ctx) {
  Descriptor descriptor;
  descriptor.model_digest = model_digest;
  descriptor.lora_digest = options.lora_digest;
  descriptor.user_salt = options.salt;
  descriptor.attention = group.attention;
  descriptor.window = group.window;
  descriptor.layers = group.layers;
  descriptor.heads = page.planes.front().heads;
  descriptor.planes = page.planes;
  descriptor.rope = rope_in_use(group.rope, n_ctx);
  descriptor.page_tokens = page.n_tokens;
  return descriptor;
}

// Of the spaces of a context, one a KV group.
std::vector<Descriptor> describe_all(const ModelManifest& manifest,
                                     const Hash32& model_digest,
                                     const LlamaCacheOptions& options,
                                     const LlamaLayout& layout) {
  const uint32_t n_ctx = options.n_ctx != 0 ? options.n_ctx : manifest.context_tokens;
  std::vector<Descriptor> out;
  for (size_t g = 0; g < manifest.groups.size(); ++g) {
    out.push_back(describe(manifest.groups[g], layout.groups[g], model_digest, options, n_ctx));
  }
  return out;
}

}  // namespace

Result<uint32_t> LlamaCache::level_kl(const Client& client,
                                      const ModelManifest& manifest,
                                      const Hash32& model_digest,
                                      const LlamaCacheOptions& options,
                                      std::string_view level) {
  SLUICE_TRY(LlamaLayout layout, make_llama_layout(manifest, options.llama));
  uint32_t worst = 0;
  for (const Descriptor& space : describe_all(manifest, model_digest, options, layout)) {
    SLUICE_TRY(uint32_t kl, client.profiles.level_kl(space, level));
    worst = std::max(worst, kl);
  }
  return worst;
}

Result<std::unique_ptr<LlamaCache>> LlamaCache::open(Client& client,
                                                     const ModelManifest& manifest,
                                                     const Hash32& model_digest,
                                                     const LlamaCacheOptions& options) {
  SLUICE_TRY(LlamaLayout layout, make_llama_layout(manifest, options.llama));
  Client::Call call(client);
  std::unique_ptr<LlamaCache> cache(new LlamaCache(client, std::move(layout)));
  cache->page_tokens_ = options.llama.page_tokens;
  for (const Descriptor& descriptor :
       describe_all(manifest, model_digest, options, cache->layout_)) {
    SLUICE_TRY(Bytes bytes, encode_descriptor(descriptor));
    SLUICE_TRY(auto space, Space::open(client, bytes, options.quality));
    cache->page_.resize(std::max<size_t>(cache->page_.size(), space->page_bytes()));
    cache->windows_.push_back(descriptor.window);
    cache->spaces_.push_back(std::move(space));
  }
  return cache;
}

uint32_t LlamaCache::encoded_kl() const {
  uint32_t worst = 0;
  for (const auto& space : spaces_) {
    worst = std::max(worst, space->encoded_kl());
  }
  return worst;
}

std::vector<Hash32> LlamaCache::keys(std::span<const uint32_t> tokens) const {
  std::vector<Hash32> out;
  for (const auto& space : spaces_) {
    std::vector<Hash32> keys = space->keys(tokens);
    out.insert(out.end(), keys.begin(), keys.end());
  }
  return out;
}

std::span<const Hash32> LlamaCache::group_keys(std::span<const Hash32> keys, size_t group) const {
  const size_t pages = pages_of(keys);
  return keys.subspan(group * pages, pages);
}

Result<Served> LlamaCache::ask(std::span<const Hash32> keys, uint32_t n_pages, uint32_t max_kl) {
  const uint32_t all_pages = n_pages;
  for (size_t g = 0; g < spaces_.size(); ++g) {
    SLUICE_TRY(const size_t readable, spaces_[g]->readable(group_keys(keys, g).first(n_pages)));
    n_pages = windows_[g] == 0 ? static_cast<uint32_t>(readable) : n_pages;
  }
  transport::LookupRequest request;
  request.max_kl = max_kl;
  for (size_t g = 0; g < spaces_.size(); ++g) {
    transport::LookupGroup group;
    SLUICE_TRY(group.handle, spaces_[g]->handle());
    group.window_pages = (windows_[g] + page_tokens_ - 1) / page_tokens_;
    std::span<const Hash32> own = group_keys(keys, g).first(n_pages);
    group.keys.reserve(own.size());
    for (const Hash32& key : own) {
      // No page has the key of zeros. A window needs its last pages only: the daemon knows which.
      group.keys.push_back(spaces_[g]->is_readable(key) ? key : Hash32{});
    }
    request.groups.push_back(std::move(group));
  }
  SLUICE_TRY(const std::shared_ptr<transport::Requester> requester, client_.requester());
  SLUICE_TRY(transport::LookupReply reply, requester->lookup(request, client_.call_options()));
  if (reply.common_pages > n_pages) {
    return SLUICE_ERR(
        Errc::protocol_error, "LOOKUP of {} pages answered with {}", n_pages, reply.common_pages);
  }
  const bool cut = n_pages < all_pages && reply.common_pages == n_pages;
  client_.miss_reason = cut ? kUnreadable : reply.miss_reason;
  return served(reply);
}

Result<uint32_t> LlamaCache::lookup(std::span<const uint32_t> tokens, uint32_t max_kl) {
  Client::Call call(client_);
  std::vector<Hash32> all = keys(tokens);
  if (all.empty()) {
    return 0u;
  }
  SLUICE_TRY(const Served found, ask(all, pages_of(all), max_kl));
  return found.pages * page_tokens_;
}

Result<Fit> LlamaCache::fit(std::span<const uint32_t> tokens,
                            uint32_t max_kl,
                            uint64_t budget_bytes) {
  Client::Call call(client_);
  const std::vector<Hash32> all = keys(tokens);
  auto look_up = [&](uint32_t n_pages, uint32_t kl) { return ask(all, n_pages, kl); };
  const uint32_t worst = std::min(max_kl, spaces_.front()->worst_kl());
  SLUICE_TRY(const Fit fit, fit_bytes(pages_of(all), worst, budget_bytes, look_up));
  if (fit.pages != 0) {
    client_.miss_reason.clear();  // of a finer level that nothing has
  }
  return fit;
}

Result<uint32_t> LlamaCache::store(std::span<const uint32_t> tokens,
                                   ByteSpan blob,
                                   transport::Ack ack,
                                   Transfer& out) {
  Client::Call call(client_);
  SLUICE_TRY(LlamaState state, check_llama_state(blob, layout_));
  if (state.n_tokens < tokens.size()) {
    return SLUICE_ERR(Errc::bad_value,
                      "the blob holds {} tokens, {} are to be stored",
                      state.n_tokens,
                      tokens.size());
  }
  std::vector<Hash32> all = keys(tokens);
  const uint32_t n_pages = pages_of(all);
  for (size_t g = 0; g < spaces_.size() && n_pages != 0; ++g) {
    PageRange held = llama_pages(state, layout_, static_cast<uint32_t>(g));
    const uint32_t end = std::min(held.first + held.count, n_pages);
    held.count = end - std::min(held.first, end);
    SLUICE_CHECK(store_group(g, all, held, state, blob, ack, out));
  }
  return n_pages * page_tokens_;
}

Status LlamaCache::store_group(size_t group,
                               std::span<const Hash32> keys,
                               PageRange pages,
                               const LlamaState& state,
                               ByteSpan blob,
                               transport::Ack ack,
                               Transfer& out) {
  std::span<const Hash32> own = group_keys(keys, group);
  // A full-attention page goes with the page before it; a window's with the full-attention page of
  // its boundary, which group 0 is where there is one.
  const bool by_chain = group == 0 || windows_[group] == 0;
  std::vector<Hash32> anchors;
  for (uint32_t page = pages.first; page < pages.first + pages.count; ++page) {
    const Hash32& parent = page == 0 ? kRootKey : own[page - 1];
    anchors.push_back(by_chain ? parent : group_keys(keys, 0)[page]);
  }
  MutByteSpan tensors = MutByteSpan(page_).first(spaces_[group]->page_bytes());
  auto load = [&](uint32_t page) -> Result<ByteSpan> {
    SLUICE_CHECK(
        gather_llama_page(blob, state, layout_, static_cast<uint32_t>(group), page, tensors));
    return ByteSpan(tensors);
  };
  const Chain chain{.keys = own.subspan(pages.first, pages.count), .first_page = pages.first};
  return spaces_[group]->put(chain, anchors, load, ack, out);
}

Result<uint32_t> LlamaCache::fill(std::span<const Hash32> keys,
                                  uint32_t n_pages,
                                  uint32_t max_kl,
                                  MutByteSpan blob,
                                  Transfer& out) {
  // Decodes into one page of scratch, which stays in the CPU's cache, and scatters from there.
  struct Scatter final : PageTarget {
    MutByteSpan tensors(uint32_t) override { return page; }

    Status done(uint32_t index) override {
      return scatter_llama_page(page, *state, *layout, group, index, blob);
    }

    MutByteSpan page;
    MutByteSpan blob;
    const LlamaState* state = nullptr;
    const LlamaLayout* layout = nullptr;
    uint32_t group = 0;
  };

  const uint32_t n_tokens = n_pages * page_tokens_;
  if (blob.size() < blob_bytes(n_tokens)) {
    return SLUICE_ERR(Errc::output_too_small,
                      "the blob of {} tokens takes {} bytes, the buffer has {}",
                      n_tokens,
                      blob_bytes(n_tokens),
                      blob.size());
  }
  blob = blob.first(blob_bytes(n_tokens));
  const LlamaState state = plan_llama_state(layout_, n_tokens);
  SLUICE_CHECK(begin_llama_blob(layout_, state, blob));
  Scatter scatter;
  scatter.blob = blob;
  scatter.state = &state;
  scatter.layout = &layout_;
  for (size_t g = 0; g < spaces_.size(); ++g) {
    scatter.group = static_cast<uint32_t>(g);
    scatter.page = MutByteSpan(page_).first(spaces_[g]->page_bytes());
    PageRange needed = llama_pages_needed(layout_, scatter.group, n_tokens);
    const Chain chain{.keys = group_keys(keys, g).subspan(needed.first, needed.count),
                      .first_page = needed.first};
    SLUICE_TRY(size_t whole, spaces_[g]->get(chain, {.max_kl = max_kl}, scatter, out));
    if (whole < needed.count) {
      return needed.first + static_cast<uint32_t>(whole);
    }
  }
  return n_pages;
}

Result<uint32_t> LlamaCache::load(std::span<const uint32_t> tokens,
                                  uint32_t max_kl,
                                  MutByteSpan blob,
                                  Transfer& out) {
  Client::Call call(client_);
  std::vector<Hash32> all = keys(tokens);
  for (int round = 0; round < kLoadRoundsMax && !all.empty(); ++round) {
    SLUICE_TRY(const Served found, ask(all, pages_of(all), max_kl));
    SLUICE_TRY(uint32_t whole, fill(all, found.pages, max_kl, blob, out));
    if (whole == found.pages) {
      return whole * page_tokens_;
    }
    if (round == kLoadRoundsMax - 2) {
      all = keys(tokens.first(size_t{whole} * page_tokens_));
    }
  }
  return 0u;
}

Result<uint32_t> LlamaCache::load_keys(std::span<const Hash32> keys,
                                       uint32_t max_kl,
                                       MutByteSpan blob,
                                       Transfer& out) {
  Client::Call call(client_);
  if (keys.empty() || keys.size() % spaces_.size() != 0) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "{} keys are not the same number for each of {} groups",
                      keys.size(),
                      spaces_.size());
  }
  const uint32_t n_pages = pages_of(keys);
  SLUICE_TRY(uint32_t whole, fill(keys, n_pages, max_kl, blob, out));
  return whole == n_pages ? n_pages * page_tokens_ : 0u;
}

}  // namespace sluice::client
