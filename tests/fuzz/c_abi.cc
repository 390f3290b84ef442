// Property: whatever arguments the C ABI gets that its header allows or says it refuses, nothing
// crashes; a failure has the sentence of this call and leaves its outputs as they were; pages and
// blobs that come back are whole. The input is a program: one byte names a call, the next its
// arguments. Buffers have exactly the length that is passed, so that ASan sees a byte beyond.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "src/client/sluice.h"
#include "src/model/descriptor.h"
#include "src/model/llama_state.h"
#include "tests/model/gguf_builder.h"
#include "tests/support/test_daemon.h"

namespace sluice {
namespace {

constexpr uint8_t kUntouched = 0xa5;
constexpr size_t kCallsMax = 24;
constexpr uint32_t kTokensMax = 160;  // five of the shortest pages

// The input from front to back; zeros behind its end.
class Program {
 public:
  explicit Program(ByteSpan bytes) : bytes_(bytes) {}

  bool at_end() const { return bytes_.empty(); }

  uint8_t byte() { return bytes_.empty() ? 0 : take(1)[0]; }

  // Small, or one of the ends of its range.
  uint32_t number() {
    const uint8_t what = byte();
    return what < 0xf0 ? what : UINT32_MAX - (what & 0xf);
  }

  ByteSpan take(size_t count) {
    const ByteSpan out = bytes_.first(std::min(count, bytes_.size()));
    bytes_ = bytes_.subspan(out.size());
    return out;
  }

  // Changes some of the bytes.
  void damage(Bytes& bytes) {
    for (uint8_t left = byte() % 4; left > 0 && !bytes.empty(); --left) {
      const size_t high = byte();
      const size_t at = (high << 8 | byte()) % bytes.size();
      bytes[at] = byte();
    }
    const uint8_t cut = byte();
    bytes.resize(cut < 8 ? bytes.size() - std::min<size_t>(cut, bytes.size()) : bytes.size());
  }

 private:
  ByteSpan bytes_;
};

// What all inputs share: a daemon, and a model on disk.
struct World {
  World() {
    setenv("XDG_CACHE_HOME", folder.path().c_str(), 1);  // of digests
    setenv("SLUICE_SOCKET", socket.c_str(), 1);
    daemon.start();
    GgufBuilder builder = tiny_gguf("llama", 2);
    builder.f32_tensor("token_embd.weight", std::vector<float>(512, 0.5f));
    builder.save(model_path);
    Result<ModelManifest> read = read_manifest(model_path);
    SLUICE_ASSERT(read.has_value());
    manifest = *std::move(read);
    SLUICE_ASSERT(sluice_model_open(model_path.c_str(), &model) == SLUICE_OK);
    uint8_t digest[32];
    SLUICE_ASSERT(sluice_model_digest(model, 60'000, digest) == SLUICE_OK);
  }

  ~World() { sluice_model_free(model); }

  World(const World&) = delete;
  World& operator=(const World&) = delete;

  testing::TempFolder folder;
  std::string socket = folder.file("s.sock");
  std::string model_path = folder.file("tiny.gguf");
  testing::TestDaemon daemon{socket, 32ull << 20};
  ModelManifest manifest;
  sluice_model* model = nullptr;
};

World& world() {
  static World the_world;
  return the_world;
}

// The failure that no call below has.
std::string mark() {
  sluice_client* none = nullptr;
  SLUICE_ASSERT(sluice_client_open(nullptr, 0, &none) == SLUICE_INVALID_ARGUMENT && !none);
  return sluice_last_error();
}

// Whether a call succeeded; a failure is named and told.
template <class Call>
bool works(Call&& call) {
  const std::string before = mark();
  const int status = call();
  if (status == SLUICE_OK) {
    return true;
  }
  const std::string text = sluice_last_error();
  const std::string name = sluice_error_name(status);
  SLUICE_ASSERT(text != before && name != "unknown");
  SLUICE_ASSERT(text.starts_with(name + ": ") && text.size() > name.size() + 2);
  return false;
}

template <class T>
bool is_untouched(const T& value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  return std::all_of(bytes, bytes + sizeof(T), [](uint8_t byte) { return byte == kUntouched; });
}

template <class T>
T untouched() {
  T out;
  std::fill_n(reinterpret_cast<uint8_t*>(&out), sizeof(T), kUntouched);
  return out;
}

std::vector<uint32_t> token_list(Program& program) {
  std::vector<uint32_t> out(program.byte() % (kTokensMax + 1));
  const uint32_t first = program.byte() % 4;
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = first + static_cast<uint32_t>(i);
  }
  return out;
}

// The page of a key: what was put under it, and so what must come back.
uint8_t page_byte(uint8_t key, size_t at) {
  return static_cast<uint8_t>(key * 31 + at * (at / 64 + 3));
}

// One client and what is open on it.
class Calls {
 public:
  explicit Calls(Program& program) : program_(program) {
    SLUICE_ASSERT(sluice_client_open(world().socket.c_str(), 2000, &client_) == SLUICE_OK);
  }

  ~Calls() {
    sluice_space_free(space_);
    sluice_llama_free(llama_);
    sluice_client_free(client_);
  }

  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  void run_one() {
    switch (program_.byte() % 18) {
      case 0:
        return open_client();
      case 1:
        return trace_and_stats();
      case 2:
        return open_space();
      case 3:
        return keys(sluice_space_keys, space_);
      case 4:
        return lookup_space();
      case 5:
        return put();
      case 6:
        return get();
      case 7:
        return open_llama();
      case 8:
        return keys(sluice_llama_keys, llama_);
      case 9:
        return lookup_llama();
      case 10:
        return store();
      case 11:
        return load(false);
      case 12:
        return load(true);
      case 13:
        return add_profile();
      case 14:
        return fit();
      case 15:
        return get_layers();
      case 16:
        return page();
      default:
        return model();
    }
  }

 private:
  // NULL now and then; never where a length says that bytes are there.
  template <class T>
  T* maybe(T* pointer) {
    return program_.byte() % 32 == 31 ? nullptr : pointer;
  }

  void open_client() {
    std::string name;
    for (uint8_t byte : program_.take(program_.byte())) {
      name += byte == 0 ? '0' : static_cast<char>(byte);
    }
    const std::string address = world().folder.path() + "/none/" + name;
    sluice_client* other = nullptr;
    const uint32_t deadline_ms = std::max(program_.number(), 1u);
    if (works([&] { return sluice_client_open(maybe(address.c_str()), deadline_ms, &other); })) {
      const char* json = nullptr;
      SLUICE_ASSERT(works([&] { return sluice_stats(other, &json); }) == (json != nullptr));
    } else {
      SLUICE_ASSERT(other == nullptr);
    }
    sluice_client_free(other);
  }

  void trace_and_stats() {
    Bytes id(16);
    const ByteSpan given = program_.take(id.size());
    std::copy(given.begin(), given.end(), id.begin());
    works([&] { return sluice_client_trace(maybe(client_), maybe(id.data())); });
    const char* json = nullptr;
    SLUICE_ASSERT(works([&] { return sluice_stats(client_, &json); }) == (json != nullptr));
    SLUICE_ASSERT(sluice_miss_reason(maybe(client_)) != nullptr);
  }

  void add_profile() {
    const ByteSpan file = program_.take(program_.byte());
    works(
        [&] { return sluice_client_add_profile(maybe(client_), maybe(file.data()), file.size()); });
  }

  // Mostly one that the space or cache may load: a worse one is refused at once.
  uint32_t loadable_kl() {
    const uint32_t kl = program_.number();
    return program_.byte() % 8 == 0 ? kl : std::min(kl, worst_kl_);
  }

  void open_space() {
    Descriptor descriptor;
    descriptor.layers = {0, 1};
    descriptor.heads = 1;
    descriptor.planes = {{PlaneRole::k, DType::f16, 1, 8, 8}, {PlaneRole::v, DType::f16, 1, 8, 0}};
    descriptor.rope = {.pairing = RopePairing::neox, .base = 10000};
    descriptor.page_tokens = 32;
    Bytes bytes = *encode_descriptor(descriptor);
    program_.damage(bytes);
    sluice_space_free(space_);
    space_ = untouched<sluice_space*>();
    worst_kl_ = program_.number();
    const uint32_t put_kl = program_.number();
    const uint32_t exact_row = program_.byte() % 3;
    const bool opened = works([&] {
      return sluice_space_open(
          maybe(client_), maybe(bytes.data()), bytes.size(), worst_kl_, put_kl, exact_row, &space_);
    });
    SLUICE_ASSERT(opened == (space_ != nullptr));
    page_bytes_ = sluice_space_page_bytes(space_);
    if (page_bytes_ > kPageBytesMax / 256) {  // a damaged descriptor may make large pages
      sluice_space_free(std::exchange(space_, nullptr));
      page_bytes_ = 0;
    }
  }

  template <class Object>
  void keys(int (*call)(const Object*, const uint32_t*, size_t, uint8_t*, size_t, size_t*),
            const Object* object) {
    const std::vector<uint32_t> tokens = token_list(program_);
    std::vector<Hash32> out(program_.byte() % 8, untouched<Hash32>());
    out.reserve(1);  // so that there is a pointer
    auto count = untouched<size_t>();
    const bool done = works([&] {
      return call(object,
                  maybe(tokens.data()),
                  tokens.size(),
                  maybe(out.data()->data()),
                  out.size(),
                  maybe(&count));
    });
    SLUICE_ASSERT(!done || count <= out.size());
    SLUICE_ASSERT(done || is_untouched(count) || count > out.size());
    for (size_t i = done ? count : 0; i < out.size(); ++i) {
      SLUICE_ASSERT(is_untouched(out[i]));
    }
  }

  // Keys of which each is one byte repeated.
  Bytes key_list(size_t count) {
    Bytes out;
    for (size_t i = 0; i < count; ++i) {
      out.insert(out.end(), SLUICE_KEY_BYTES, static_cast<uint8_t>(program_.byte() % 8));
    }
    out.reserve(1);
    return out;
  }

  void lookup_space() {
    const size_t count = program_.byte() % 8;
    const Bytes list = key_list(count);
    auto pages = untouched<uint32_t>();
    const uint32_t max_kl = program_.number();
    const bool done = works([&] {
      return sluice_space_lookup(space_, maybe(list.data()), count, max_kl, maybe(&pages));
    });
    SLUICE_ASSERT(done ? pages <= count : is_untouched(pages));
  }

  void put() {
    const size_t there = program_.byte() % 4;
    const Bytes list = key_list(there);
    Bytes tensors(there * page_bytes_);
    for (size_t i = 0; i < tensors.size(); ++i) {
      tensors[i] = page_byte(list[i / page_bytes_ * SLUICE_KEY_BYTES], i % page_bytes_);
    }
    tensors.reserve(1);
    // More keys than tensors are refused before a key is read.
    const size_t extra = program_.byte() % 8 == 7 ? SIZE_MAX / (1u + program_.byte()) : 0;
    const size_t count = std::max(there, extra);
    const Bytes anchor = key_list(1);
    const uint32_t first = program_.number();
    const uint32_t ack = program_.byte() % 4;
    sluice_transfer moved{};
    const bool done = works([&] {
      return sluice_space_put(space_,
                              maybe(list.data()),
                              count,
                              first,
                              maybe(anchor.data()),
                              maybe(tensors.data()),
                              tensors.size(),
                              ack,
                              maybe(&moved));
    });
    SLUICE_ASSERT(moved.pages + moved.pages_kept <= there);
    SLUICE_ASSERT(!done || moved.pages + moved.pages_kept == there);
  }

  void get() {
    const size_t there = program_.byte() % 4;
    const Bytes list = key_list(there);
    Bytes tensors(there * page_bytes_);
    tensors.reserve(1);
    const size_t extra = program_.byte() % 8 == 7 ? SIZE_MAX / (1u + program_.byte()) : 0;
    const size_t count = std::max(there, extra);
    const uint32_t first = program_.number();
    const uint32_t max_kl = loadable_kl();
    sluice_transfer moved{};
    const bool done = works([&] {
      return sluice_space_get(space_,
                              maybe(list.data()),
                              count,
                              first,
                              max_kl,
                              maybe(tensors.data()),
                              tensors.size(),
                              maybe(&moved));
    });
    SLUICE_ASSERT(done ? moved.pages <= there : moved.pages == 0);
    for (size_t i = 0; i < moved.pages * page_bytes_; ++i) {
      SLUICE_ASSERT(tensors[i] ==
                    page_byte(list[i / page_bytes_ * SLUICE_KEY_BYTES], i % page_bytes_));
    }
  }

  void fit() {
    constexpr const char* kLevels[] = {"q3", "exact", "none", ""};
    const char* level = kLevels[program_.byte() % 4];
    const ByteSpan descriptor = program_.take(program_.byte());
    auto kl = untouched<uint32_t>();
    const bool named = works([&] {
      return sluice_level_kl(
          maybe(client_), maybe(descriptor.data()), descriptor.size(), maybe(level), maybe(&kl));
    });
    SLUICE_ASSERT(named || is_untouched(kl));
    const size_t count = program_.byte() % 8;
    const Bytes list = key_list(count);
    const uint32_t max_kl = program_.number();
    const uint64_t budget = program_.number();
    sluice_fit out{};
    works([&] {
      return sluice_space_fit(space_, maybe(list.data()), count, max_kl, budget, maybe(&out));
    });
    SLUICE_ASSERT(out.pages <= count && out.max_kl <= max_kl && out.stored_bytes <= budget);
  }

  void get_layers() {
    const size_t there = program_.byte() % 4;
    const Bytes list = key_list(there);
    Bytes tensors(there * page_bytes_);
    tensors.reserve(1);
    const uint32_t first_layer = program_.byte() % 4;
    const uint32_t layers = program_.byte() % 4;
    sluice_transfer moved{};
    const bool done = works([&] {
      return sluice_space_get_layers(space_,
                                     maybe(list.data()),
                                     there,
                                     0,
                                     0,
                                     first_layer,
                                     layers,
                                     maybe(tensors.data()),
                                     tensors.size(),
                                     maybe(&moved));
    });
    SLUICE_ASSERT(done ? moved.pages <= there : moved.pages == 0);
    const size_t layer_bytes = page_bytes_ / 2;
    for (size_t i = 0; i < moved.pages * layers * layer_bytes; ++i) {
      const uint8_t key = list[i / (layers * layer_bytes) * SLUICE_KEY_BYTES];
      const size_t at = first_layer * layer_bytes + i % (layers * layer_bytes);
      SLUICE_ASSERT(tensors[i] == page_byte(key, at));
    }
  }

  void page() {
    const Bytes key = key_list(1);
    auto page = untouched<sluice_page*>();
    const uint32_t index = program_.number();
    const uint32_t max_kl = loadable_kl();
    const bool got =
        works([&] { return sluice_page_get(space_, maybe(key.data()), index, max_kl, &page); });
    SLUICE_ASSERT(got == (page != nullptr));
    works([&] { return sluice_page_refine(page, program_.number()); });
    SLUICE_ASSERT(!got || sluice_page_kl(page) <= max_kl);
    SLUICE_ASSERT(got == (sluice_page_stored_bytes(page) != 0));
    Bytes tensors(page_bytes_);
    tensors.reserve(1);
    works([&] { return sluice_page_decode(page, maybe(tensors.data()), tensors.size()); });
    sluice_page_free(page);
  }

  void open_llama() {
    constexpr uint32_t kTypes[] = {0, 1, 30, 2};
    const Bytes salt(program_.byte() % 40, 7);
    const Bytes lora(SLUICE_KEY_BYTES, 9);
    options_ = {.flash_attention = program_.byte() % 2u,
                .k_ggml_type = kTypes[program_.byte() % 4],
                .v_ggml_type = kTypes[program_.byte() % 4],
                .n_ctx = program_.number(),
                .page_tokens = program_.byte() % 4 * 32u,
                .worst_kl = worst_kl_ = program_.number(),
                .put_kl = program_.number(),
                .exact_row = program_.byte() % 3u,
                .salt = maybe(salt.data()),
                .salt_bytes = salt.size(),
                .lora_digest = program_.byte() % 2 == 0 ? nullptr : lora.data()};
    if (program_.byte() % 8 == 7) {  // whatever the numbers are
      options_.flash_attention = program_.number();
      options_.page_tokens = program_.number();
      options_.k_ggml_type = program_.number();
    }
    sluice_llama_free(llama_);
    llama_ = untouched<sluice_llama*>();
    const bool opened = works([&] {
      return sluice_llama_open(maybe(client_), maybe(world().model), maybe(&options_), &llama_);
    });
    SLUICE_ASSERT(opened == (llama_ != nullptr));
  }

  void lookup_llama() {
    const std::vector<uint32_t> tokens = token_list(program_);
    auto count = untouched<uint32_t>();
    const uint32_t max_kl = program_.number();
    const bool done = works([&] {
      return sluice_llama_lookup(
          llama_, maybe(tokens.data()), tokens.size(), max_kl, maybe(&count));
    });
    SLUICE_ASSERT(done ? count <= tokens.size() : is_untouched(count));
    const uint64_t budget = program_.number();
    sluice_fit fit{};
    works([&] {
      return sluice_llama_fit(
          llama_, maybe(tokens.data()), tokens.size(), max_kl, budget, maybe(&fit));
    });
    SLUICE_ASSERT(fit.pages <= tokens.size() && fit.max_kl <= max_kl && fit.stored_bytes <= budget);
  }

  // Of the context that is open. Requires: one is.
  LlamaLayout layout() const {
    LlamaOptions options{.flash_attention = options_.flash_attention == 1,
                         .k_ggml_type = options_.k_ggml_type,
                         .v_ggml_type = options_.v_ggml_type};
    options.page_tokens = options_.page_tokens == 0 ? options.page_tokens : options_.page_tokens;
    Result<LlamaLayout> out = make_llama_layout(world().manifest, options);
    SLUICE_ASSERT(out.has_value());
    return *std::move(out);
  }

  void store() {
    const std::vector<uint32_t> tokens = token_list(program_);
    Bytes blob;
    if (llama_ != nullptr) {
      const LlamaState state = plan_llama_state(layout(), static_cast<uint32_t>(tokens.size()));
      blob.resize(state.blob_bytes);
      SLUICE_ASSERT(begin_llama_blob(layout(), state, blob).has_value());
    }
    program_.damage(blob);
    blob.reserve(1);
    const uint32_t ack = program_.byte() % 4;
    sluice_transfer moved{};
    const bool done = works([&] {
      return sluice_llama_store(llama_,
                                maybe(tokens.data()),
                                tokens.size(),
                                maybe(blob.data()),
                                blob.size(),
                                ack,
                                maybe(&moved));
    });
    SLUICE_ASSERT(done ? moved.tokens <= tokens.size() : moved.tokens == 0);
  }

  void load(bool by_keys) {
    const std::vector<uint32_t> tokens = token_list(program_);
    const size_t n_keys = program_.byte() % 4;
    const Bytes list = key_list(n_keys);
    const size_t whole =
        sluice_llama_blob_bytes(maybe(llama_), static_cast<uint32_t>(tokens.size()));
    Bytes blob(whole - std::min<size_t>(whole, program_.byte() % 16 == 15 ? program_.byte() : 0));
    blob.reserve(1);
    size_t bytes = 0;
    sluice_transfer moved{};
    const uint32_t max_kl = loadable_kl();
    const bool done = works([&] {
      return by_keys ? sluice_llama_load_keys(llama_,
                                              maybe(list.data()),
                                              n_keys,
                                              max_kl,
                                              maybe(blob.data()),
                                              blob.size(),
                                              maybe(&bytes),
                                              maybe(&moved))
                     : sluice_llama_load(llama_,
                                         maybe(tokens.data()),
                                         tokens.size(),
                                         max_kl,
                                         maybe(blob.data()),
                                         blob.size(),
                                         maybe(&bytes),
                                         maybe(&moved));
    });
    SLUICE_ASSERT(bytes <= blob.size() && (done || bytes == 0));
    SLUICE_ASSERT(bytes == 0 || bytes == sluice_llama_blob_bytes(llama_, moved.tokens));
    if (bytes != 0) {
      SLUICE_ASSERT(check_llama_state(ByteSpan(blob).first(bytes), layout()).has_value());
    }
  }

  void model() {
    auto digest = untouched<Hash32>();
    const bool done =
        works([&] { return sluice_model_digest(maybe(world().model), 0, maybe(digest.data())); });
    SLUICE_ASSERT(done || is_untouched(digest));
    SLUICE_ASSERT(sluice_model_groups(maybe(world().model)) <= 1);
    SLUICE_ASSERT(sluice_model_json(maybe(world().model)) != nullptr);
  }

  Program& program_;
  sluice_client* client_ = nullptr;
  sluice_space* space_ = nullptr;
  uint32_t worst_kl_ = 0;  // of the last space or cache that was opened
  size_t page_bytes_ = 0;  // of space_
  sluice_llama* llama_ = nullptr;
  sluice_llama_options options_{};  // of llama_
};

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::Program program(sluice::ByteSpan(data, size));
  sluice::Calls calls(program);
  for (size_t i = 0; i < sluice::kCallsMax && !program.at_end(); ++i) {
    calls.run_one();
  }
  return 0;
}
