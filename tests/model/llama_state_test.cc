#include "src/model/llama_state.h"

#include <gtest/gtest.h>

#include "src/base/prng.h"
#include "tests/model/golden_json.h"
#include "tests/model/golden_llama.h"

namespace sluice {
namespace {

LlamaLayout golden_layout(bool flash_attention) {
  return *make_llama_layout(golden_model(),
                            {.flash_attention = flash_attention, .page_tokens = 32});
}

Bytes golden_blob(bool flash_attention) {
  return hex_bytes(
      golden_json("llama_state.json")[flash_attention ? "flash_attention" : "no_flash_attention"]);
}

Errc refused(ByteSpan blob, const LlamaLayout& layout) {
  Result<LlamaState> state = check_llama_state(blob, layout);
  return state.has_value() ? Errc::ok : state.error().code;
}

Bytes gather(ByteSpan blob, const LlamaLayout& layout, uint32_t group, uint32_t page) {
  Bytes out(layout.groups[group].bytes());
  LlamaState state = *check_llama_state(blob, layout);
  Status status = gather_llama_page(blob, state, layout, group, page, out);
  EXPECT_TRUE(status.has_value()) << status.error().to_string();
  return out;
}

// A blob with random tensors.
Bytes random_blob(const LlamaLayout& layout, uint32_t n_tokens, uint64_t seed) {
  LlamaState plan = plan_llama_state(layout, n_tokens);
  Bytes blob(plan.blob_bytes);
  Prng random(seed);
  for (uint8_t& byte : blob) {
    byte = static_cast<uint8_t>(random.next());
  }
  EXPECT_TRUE(begin_llama_blob(layout, plan, blob).has_value());
  return blob;
}

TEST(LlamaState, GoldenBlobsGiveTheGoldenPages) {
  nlohmann::json golden = golden_json("llama_state.json");
  for (bool flash_attention : {true, false}) {
    LlamaLayout layout = golden_layout(flash_attention);
    Bytes blob = golden_blob(flash_attention);
    Result<LlamaState> state = check_llama_state(blob, layout);
    ASSERT_TRUE(state.has_value()) << state.error().to_string();
    EXPECT_EQ(state->n_tokens, 100u);
    EXPECT_EQ(llama_pages(*state, layout, 0), (PageRange{0, 3}));
    EXPECT_EQ(llama_pages(*state, layout, 1),
              (PageRange{golden["window_pages_first"].get<uint32_t>(), 1}));
    for (uint32_t page = 0; page < 3; ++page) {
      EXPECT_EQ(gather(blob, layout, 0, page), hex_bytes(golden["full_pages"][page])) << page;
    }
    EXPECT_EQ(gather(blob, layout, 1, 2), hex_bytes(golden["window_pages"][0]));
  }
}

TEST(LlamaState, HeadersOfABuiltBlobAreThoseOfTheGoldenOne) {
  for (bool flash_attention : {true, false}) {
    LlamaLayout layout = golden_layout(flash_attention);
    Bytes golden = golden_blob(flash_attention);
    LlamaState plan = plan_llama_state(layout, 100);
    ASSERT_EQ(plan.blob_bytes, golden.size());
    EXPECT_EQ(llama_blob_bytes(layout, 100), golden.size());
    // What is not a header keeps the golden bytes, so equal bytes mean equal headers.
    Bytes built = golden;
    ASSERT_TRUE(begin_llama_blob(layout, plan, built).has_value());
    EXPECT_EQ(built, golden);
    Bytes blank(golden.size());
    ASSERT_TRUE(begin_llama_blob(layout, plan, blank).has_value());
    EXPECT_EQ(refused(blank, layout), Errc::ok);
  }
}

struct Case {
  uint32_t k_type, v_type;
  uint32_t heads, dim, page_tokens, n_tokens;
};

TEST(LlamaState, PagesComeBackAsTheyWere) {
  const Case cases[] = {{1, 1, 3, 64, 64, 192},
                        {0, 0, 2, 32, 32, 128},
                        {1, 30, 1, 7, 64, 64},
                        {30, 0, 5, 3, 96, 288}};
  for (const Case& c : cases) {
    for (bool flash_attention : {true, false}) {
      ModelManifest model = manifest_of({group_of({0, 1, 3}, 0, c.heads, c.dim)});
      LlamaLayout layout = *make_llama_layout(model,
                                              {.flash_attention = flash_attention,
                                               .k_ggml_type = c.k_type,
                                               .v_ggml_type = c.v_type,
                                               .page_tokens = c.page_tokens});
      Bytes blob = random_blob(layout, c.n_tokens, c.dim);
      LlamaState plan = plan_llama_state(layout, c.n_tokens);
      Bytes again(plan.blob_bytes);
      ASSERT_TRUE(begin_llama_blob(layout, plan, again).has_value());
      for (uint32_t page = 0; page < c.n_tokens / c.page_tokens; ++page) {
        Bytes tensors = gather(blob, layout, 0, page);
        ASSERT_TRUE(scatter_llama_page(tensors, plan, layout, 0, page, again).has_value());
      }
      EXPECT_EQ(again, blob) << "dim " << c.dim << ", flash attention " << flash_attention;
    }
  }
}

TEST(LlamaState, FlashAttentionOnAndOffGiveTheSamePages) {
  ModelManifest model = manifest_of({group_of({0, 1}, 0, 3, 16)});
  LlamaLayout on = *make_llama_layout(model, {.flash_attention = true});
  LlamaLayout off = *make_llama_layout(model, {.flash_attention = false});
  Bytes rows = random_blob(on, 128, 3);
  LlamaState plan = plan_llama_state(off, 128);
  Bytes columns(plan.blob_bytes);
  ASSERT_TRUE(begin_llama_blob(off, plan, columns).has_value());
  for (uint32_t page : {0u, 1u}) {
    Bytes tensors = gather(rows, on, 0, page);
    ASSERT_TRUE(scatter_llama_page(tensors, plan, off, 0, page, columns).has_value());
    EXPECT_EQ(gather(columns, off, 0, page), tensors);
  }
}

TEST(LlamaState, WindowBeginsInTheMiddleOfAPage) {
  LlamaLayout layout = golden_layout(false);
  EXPECT_EQ(llama_pages_needed(layout, 0, 96), (PageRange{0, 3}));
  EXPECT_EQ(llama_pages_needed(layout, 1, 96), (PageRange{1, 2}));  // from position 56
  EXPECT_EQ(llama_pages_needed(layout, 1, 32), (PageRange{0, 1}));
  LlamaState plan = plan_llama_state(layout, 96);
  EXPECT_EQ(plan.caches[1].first_position, 56u);
  EXPECT_EQ(plan.caches[1].cells, 40u);
  // Pages of a longer sequence whose window reaches further back: what lies before is left out.
  LlamaLayout wide = layout;
  wide.caches[1].window = 96;
  Bytes blob = random_blob(wide, 96, 5);
  Bytes narrow(plan.blob_bytes);
  ASSERT_TRUE(begin_llama_blob(layout, plan, narrow).has_value());
  Bytes pages[2] = {gather(blob, wide, 1, 1), gather(blob, wide, 1, 2)};
  for (uint32_t page : {1u, 2u}) {
    ASSERT_TRUE(scatter_llama_page(pages[page - 1], plan, layout, 1, page, narrow).has_value());
  }
  EXPECT_EQ(refused(narrow, layout), Errc::ok);
  EXPECT_EQ(llama_pages(*check_llama_state(narrow, layout), layout, 1), (PageRange{2, 1}));
  EXPECT_EQ(gather(narrow, layout, 1, 2), pages[1]);
}

TEST(LlamaState, AnyCutIsTruncatedAndAnyMoreIsRefused) {
  LlamaLayout layout = golden_layout(true);
  Bytes blob = golden_blob(true);
  for (size_t length = 0; length < blob.size(); ++length) {
    ASSERT_EQ(refused(ByteSpan(blob).first(length), layout), Errc::truncated) << length;
  }
  blob.push_back(0);
  EXPECT_EQ(refused(blob, layout), Errc::bad_value);
}

TEST(LlamaState, EveryHeaderByteIsChecked) {
  for (bool flash_attention : {true, false}) {
    LlamaLayout layout = golden_layout(flash_attention);
    const Bytes blob = golden_blob(flash_attention);
    // Bytes that begin_llama_blob writes are headers; their complement marks them.
    Bytes inverse(blob.size());
    Bytes marked(blob.size(), 0xff);
    LlamaState plan = plan_llama_state(layout, 100);
    ASSERT_TRUE(begin_llama_blob(layout, plan, inverse).has_value());
    ASSERT_TRUE(begin_llama_blob(layout, plan, marked).has_value());
    size_t headers = 0;
    for (size_t at = 0; at < blob.size(); ++at) {
      Bytes bad = blob;
      bad[at] ^= 0x41;
      bool header = inverse[at] == marked[at];
      headers += header;
      ASSERT_EQ(refused(bad, layout) != Errc::ok, header) << "byte " << at;
    }
    EXPECT_EQ(headers, 8u + 2 * 24 + 140 * 12 + 10 * 12);
  }
}

TEST(LlamaState, ErrorsNameTheFieldThatDiffers) {
  LlamaLayout layout = golden_layout(true);
  const Bytes blob = golden_blob(true);
  auto text_of = [&](size_t at, uint32_t value) {
    Bytes bad = blob;
    store_le(bad.data() + at, value);
    Result<LlamaState> state = check_llama_state(bad, layout);
    return state.has_error() ? state.error().to_string() : std::string();
  };
  size_t heads = 16 + 100 * 12;
  EXPECT_EQ(text_of(0, 7).rfind("bad_magic", 0), 0u);
  EXPECT_NE(text_of(4, 3).find("sequence id is 3"), std::string::npos);
  EXPECT_NE(text_of(8, 2).find("n_stream is 2"), std::string::npos);
  EXPECT_NE(text_of(12, 0).find("empty"), std::string::npos);
  EXPECT_NE(text_of(28, 5).find("cell 1 is position 5"), std::string::npos);
  EXPECT_NE(text_of(heads, 1).find("v_trans is 1"), std::string::npos);
  EXPECT_NE(text_of(heads + 4, 9).find("layer count is 9"), std::string::npos);
  EXPECT_NE(text_of(heads + 8, 64).find("n_rot_k"), std::string::npos);
  EXPECT_NE(text_of(heads + 16, 8).find("type of K is 8"), std::string::npos);
}

TEST(LlamaState, PositionsBelowZeroAreRefused) {
  LlamaLayout layout = golden_layout(true);
  Bytes blob = golden_blob(true);
  for (uint32_t i = 0; i < 100; ++i) {
    store_le<uint32_t>(blob.data() + 16 + 12 * i, 0u - 100 + i);
  }
  EXPECT_EQ(refused(blob, layout), Errc::bad_value);
}

TEST(LlamaState, CachesMustReachAsFarAsTheyAttend) {
  LlamaLayout layout = golden_layout(true);
  LlamaLayout wide = layout;
  wide.caches[1].window = 41;  // the blob's window is one token short of this
  EXPECT_EQ(refused(golden_blob(true), wide), Errc::layout_mismatch);
  LlamaState plan = plan_llama_state(layout, 100);
  plan.caches[1].first_position -= 1;  // both ends a token early
  Bytes blob = golden_blob(true);
  ASSERT_TRUE(begin_llama_blob(layout, plan, blob).has_value());
  EXPECT_EQ(refused(blob, layout), Errc::layout_mismatch);
  plan = plan_llama_state(layout, 100);
  plan.caches[0].first_position = 1;  // full attention without its first token
  ASSERT_TRUE(begin_llama_blob(layout, plan, blob).has_value());
  EXPECT_EQ(refused(blob, layout), Errc::layout_mismatch);
}

TEST(LlamaState, MutatedBlobsAreRefusedOrReadWithinTheirBytes) {
  LlamaLayout layout = golden_layout(false);
  const Bytes good = golden_blob(false);
  Prng random(11);
  Bytes page(layout.groups[0].bytes());
  for (int i = 0; i < 3000; ++i) {
    Bytes blob = good;
    for (uint64_t n = 1 + random.below(3); n > 0; --n) {
      blob[random.below(2000)] = static_cast<uint8_t>(random.next());
    }
    Result<LlamaState> state = check_llama_state(blob, layout);
    if (state.has_value()) {
      EXPECT_TRUE(gather_llama_page(blob, *state, layout, 0, 2, page).has_value());
    }
  }
}

TEST(LlamaState, LengthsAndIndicesOfCallersAreChecked) {
  LlamaLayout layout = golden_layout(true);
  Bytes blob = golden_blob(true);
  LlamaState state = *check_llama_state(blob, layout);
  Bytes page(layout.groups[0].bytes());
  auto code = [](const Status& status) {
    return status.has_error() ? status.error().code : Errc::ok;
  };
  auto gathered = [&](ByteSpan from, uint32_t group, uint32_t index, MutByteSpan out) {
    return code(gather_llama_page(from, state, layout, group, index, out));
  };
  EXPECT_EQ(gathered(blob, 0, 2, page), Errc::ok);
  EXPECT_EQ(gathered(blob, 0, 3, page), Errc::invalid_argument);
  EXPECT_EQ(gathered(blob, 2, 0, page), Errc::invalid_argument);
  EXPECT_EQ(gathered(blob, 0, 0, MutByteSpan(page).first(8)), Errc::invalid_argument);
  EXPECT_EQ(gathered(ByteSpan(blob).first(8), 0, 0, page), Errc::invalid_argument);
  Bytes window_page(layout.groups[1].bytes());
  EXPECT_EQ(gathered(blob, 1, 1, window_page), Errc::invalid_argument);
  EXPECT_EQ(code(scatter_llama_page(page, state, layout, 0, 4, blob)), Errc::invalid_argument);
  EXPECT_EQ(code(scatter_llama_page(ByteSpan(page).first(8), state, layout, 0, 0, blob)),
            Errc::invalid_argument);
  EXPECT_EQ(code(begin_llama_blob(layout, state, MutByteSpan(blob).first(8))),
            Errc::output_too_small);
}

TEST(LlamaLayout, QuantisedCachesAreRefusedByName) {
  Result<LlamaLayout> layout =
      make_llama_layout(golden_model(), {.flash_attention = true, .v_ggml_type = 8});
  ASSERT_TRUE(layout.has_error());
  EXPECT_EQ(layout.error().code, Errc::unsupported);
  EXPECT_NE(layout.error().text.find("q8_0 of v"), std::string::npos);
}

TEST(LlamaLayout, ModelsThatItCannotHoldAreRefused) {
  ModelManifest config = golden_model();
  config.source = ManifestSource::hf_config;
  EXPECT_EQ(make_llama_layout(config, {}).error().code, Errc::unsupported);
  ModelManifest windows = manifest_of({group_of({0}, 16, 1, 8)});
  EXPECT_EQ(make_llama_layout(windows, {}).error().code, Errc::unsupported);
  ModelManifest two =
      manifest_of({group_of({0}, 0, 1, 8), group_of({1}, 16, 1, 8), group_of({2}, 32, 1, 8)});
  EXPECT_EQ(make_llama_layout(two, {}).error().code, Errc::unsupported);
  EXPECT_EQ(make_llama_layout(golden_model(), {.page_tokens = 0}).error().code, Errc::bad_value);
}

TEST(LlamaLayout, GroupsOfOneAttentionKindShareACacheInLayerOrder) {
  ModelManifest model = manifest_of({group_of({0, 3}, 0, 2, 8), group_of({1, 2}, 0, 1, 8)});
  LlamaLayout layout = *make_llama_layout(model, {});
  ASSERT_EQ(layout.caches.size(), 1u);
  EXPECT_EQ(layout.caches[0].layers, (std::vector<LlamaLayer>{{0, 0}, {1, 0}, {1, 1}, {0, 1}}));
}

}  // namespace
}  // namespace sluice
