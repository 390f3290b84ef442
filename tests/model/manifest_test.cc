#include "src/model/manifest.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "tests/model/gguf_builder.h"

namespace sluice {
namespace {

Result<ModelManifest> manifest_of(const GgufBuilder& builder) {
  std::string path = (std::filesystem::path(testing::TempDir()) / "manifest.gguf").string();
  builder.save(path);
  return read_manifest(path);
}

Errc refused(const GgufBuilder& builder) {
  Result<ModelManifest> manifest = manifest_of(builder);
  return manifest.has_value() ? Errc::ok : manifest.error().code;
}

std::vector<uint32_t> count_from(uint32_t first, uint32_t count) {
  std::vector<uint32_t> out(count);
  for (uint32_t i = 0; i < count; ++i) {
    out[i] = first + i;
  }
  return out;
}

TEST(ManifestOfGguf, LlamaHasOneGroupOfInterleavedPairs) {
  ModelManifest m = *manifest_of(tiny_gguf("llama", 5).f32("llama.rope.freq_base", 500000));
  EXPECT_EQ(m.source, ManifestSource::gguf);
  EXPECT_EQ(m.architecture, "llama");
  EXPECT_EQ(m.name, "tiny");
  EXPECT_EQ(m.layers, 5u);
  EXPECT_EQ(m.context_tokens, 4096u);
  ASSERT_EQ(m.groups.size(), 1u);
  const KvGroup& group = m.groups[0];
  EXPECT_EQ(group.attention, AttentionKind::full);
  EXPECT_EQ(group.layers, count_from(0, 5));
  EXPECT_EQ(group.planes,
            (std::vector<Plane>{{PlaneRole::k, DType::f16, 2, 64, 64},
                                {PlaneRole::v, DType::f16, 2, 64, 0}}));
  EXPECT_EQ(group.rope, (Rope{.pairing = RopePairing::interleaved, .base = 500000}));
}

TEST(ManifestOfGguf, KvHeadsDefaultToHeadsAndBaseToTenThousand) {
  GgufBuilder builder;
  builder.text("general.architecture", "qwen2").u32("qwen2.context_length", 128);
  builder.u32("qwen2.block_count", 1).u32("qwen2.embedding_length", 512);
  builder.u32("qwen2.attention.head_count", 4);
  ModelManifest m = *manifest_of(builder);
  EXPECT_EQ(m.groups[0].planes[0].heads, 4u);
  EXPECT_EQ(m.groups[0].planes[0].dim, 128u);
  EXPECT_EQ(m.groups[0].rope, (Rope{.pairing = RopePairing::neox, .base = 10000}));
}

TEST(ManifestOfGguf, LayersWithOtherHeadCountsAreAnotherGroup) {
  GgufBuilder builder;
  builder.text("general.architecture", "llama").u32("llama.context_length", 128);
  builder.u32("llama.block_count", 4).u32("llama.embedding_length", 512);
  builder.u32("llama.attention.head_count", 8);
  builder.i32s("llama.attention.head_count_kv", {8, 2, 8, 2});
  ModelManifest m = *manifest_of(builder);
  ASSERT_EQ(m.groups.size(), 2u);
  EXPECT_EQ(m.groups[0].layers, (std::vector<uint32_t>{0, 2}));
  EXPECT_EQ(m.groups[1].layers, (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ(m.groups[1].planes[0].heads, 2u);
}

TEST(ManifestOfGguf, GemmaThreeHasEverySixthLayerFull) {
  GgufBuilder builder = tiny_gguf("gemma3", 18);
  builder.u32("gemma3.attention.sliding_window", 512).f32("gemma3.rope.freq_base", 1000000);
  builder.u32("gemma3.attention.key_length", 256).u32("gemma3.attention.value_length", 256);
  builder.f32("gemma3.rope.scaling.factor", 8).text("gemma3.rope.scaling.type", "linear");
  ModelManifest m = *manifest_of(builder);
  ASSERT_EQ(m.groups.size(), 2u);
  EXPECT_EQ(m.groups[0].layers, (std::vector<uint32_t>{5, 11, 17}));
  EXPECT_EQ(m.groups[0].rope,
            (Rope{.pairing = RopePairing::neox,
                  .base = 1000000,
                  .scaling = RopeScaling::linear,
                  .factor = 8}));
  EXPECT_EQ(m.groups[1].attention, AttentionKind::window);
  EXPECT_EQ(m.groups[1].window, 512u);
  EXPECT_EQ(m.groups[1].layers.size(), 15u);
  EXPECT_EQ(m.groups[1].rope, (Rope{.pairing = RopePairing::neox, .base = 10000}));
}

TEST(ManifestOfGguf, WindowPatternMayBeAPeriodOrAList) {
  GgufBuilder period = tiny_gguf("gemma2", 6);
  period.u32("gemma2.attention.sliding_window_pattern", 3);
  ModelManifest m = *manifest_of(period);
  EXPECT_EQ(m.groups[0].layers, (std::vector<uint32_t>{2, 5}));
  EXPECT_EQ(m.groups[1].window, 4096u);
  EXPECT_EQ(m.groups[1].rope, m.groups[0].rope);
  GgufBuilder list = tiny_gguf("gemma2", 4);
  list.i32s("gemma2.attention.sliding_window_pattern", {1, 1, 0, 1});
  m = *manifest_of(list);
  EXPECT_EQ(m.groups[0].layers, std::vector<uint32_t>{2});
  list.u32("gemma2.attention.sliding_window", 1024);
  EXPECT_EQ(manifest_of(list)->groups[1].window, 1024u);
  EXPECT_EQ(refused(tiny_gguf("gemma2", 4).i32s("gemma2.attention.sliding_window_pattern", {1})),
            Errc::bad_value);
}

TEST(ManifestOfGguf, ScalingsAreReadFromKeysAndTensors) {
  GgufBuilder yarn = tiny_gguf("qwen2", 1);
  yarn.text("qwen2.rope.scaling.type", "yarn").f32("qwen2.rope.scaling.factor", 4);
  yarn.u32("qwen2.rope.scaling.original_context_length", 2048);
  EXPECT_EQ(manifest_of(yarn)->groups[0].rope,
            (Rope{.pairing = RopePairing::neox,
                  .base = 10000,
                  .scaling = RopeScaling::yarn,
                  .factor = 4,
                  .original_context = 2048,
                  .low = 1,
                  .high = 32,
                  .attention_factor = 1}));
  Rope llama3 =
      manifest_of(tiny_gguf("llama", 1).f32_tensor("rope_freqs.weight", {1, 8}))->groups[0].rope;
  EXPECT_EQ(llama3.scaling, RopeScaling::llama3);
  EXPECT_EQ(llama3.factors, (std::vector<float>{1, 8}));
  GgufBuilder phi = tiny_gguf("phi3", 1);
  phi.f32_tensor("rope_factors_long.weight", {3, 4})
      .f32_tensor("rope_factors_short.weight", {1, 2});
  phi.f32("phi3.rope.scaling.attn_factor", 1.25f);
  phi.u32("phi3.rope.scaling.original_context_length", 1024);
  Rope longrope = manifest_of(phi)->groups[0].rope;
  EXPECT_EQ(longrope.scaling, RopeScaling::longrope);
  EXPECT_EQ(longrope.original_context, 1024u);
  EXPECT_EQ(longrope.factors, (std::vector<float>{1, 2}));
  EXPECT_EQ(longrope.factors_beyond, (std::vector<float>{3, 4}));
}

TEST(ManifestOfGguf, WhatIsNotKnownIsRefusedByName) {
  Result<ModelManifest> unknown = manifest_of(tiny_gguf("mamba2", 4));
  ASSERT_TRUE(unknown.has_error());
  EXPECT_EQ(unknown.error().code, Errc::unsupported);
  EXPECT_NE(unknown.error().text.find("mamba2"), std::string::npos);
  EXPECT_EQ(refused(tiny_gguf("llama", 1).text("llama.rope.scaling.type", "dynamic")),
            Errc::unsupported);
  EXPECT_EQ(refused(tiny_gguf("llama", 1).u32("llama.rope.dimension_count", 32)),
            Errc::unsupported);
  EXPECT_EQ(refused(tiny_gguf("llama", 1).boolean("llama.attention.causal", false)),
            Errc::unsupported);
  EXPECT_EQ(refused(tiny_gguf("llama", 1).u32("split.count", 2)), Errc::unsupported);
}

TEST(ManifestOfGguf, ImpossibleNumbersAreRefused) {
  EXPECT_EQ(refused(tiny_gguf("llama", 0)), Errc::bad_value);
  EXPECT_EQ(refused(tiny_gguf("llama", 5000)), Errc::bad_value);
  EXPECT_EQ(refused(tiny_gguf("qwen2", 1).u32("qwen2.attention.key_length", 0)), Errc::bad_value);
  EXPECT_EQ(refused(tiny_gguf("qwen2", 1).u32("qwen2.attention.key_length", 0xffffffff)),
            Errc::too_large);
  EXPECT_EQ(refused(tiny_gguf("qwen2", 1).u32("qwen2.rope.dimension_count", 65)), Errc::bad_value);
  EXPECT_EQ(refused(tiny_gguf("qwen2", 1).f32("qwen2.rope.freq_base", -1)), Errc::bad_value);
  EXPECT_EQ(refused(tiny_gguf("gemma3", 1).u32("gemma3.attention.sliding_window", 0x80000000)),
            Errc::bad_value);
  EXPECT_EQ(refused(GgufBuilder().text("general.architecture", "llama")), Errc::not_found);
}

TEST(ManifestOfGguf, JsonTextHoldsWhatPeopleAskFor) {
  ModelManifest m = *manifest_of(tiny_gguf("llama", 3));
  nlohmann::json json = nlohmann::json::parse(m.to_json());
  EXPECT_EQ(json["architecture"], "llama");
  EXPECT_EQ(json["groups"][0]["layers"], (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(json["groups"][0]["planes"][0]["dim"], 64);
  EXPECT_EQ(json["groups"][0]["rope"]["pairing"], "interleaved");
  m.name = "\xff no UTF-8";
  EXPECT_FALSE(m.to_json().empty());
}

struct RealModel {
  const char* file;
  size_t groups;
  size_t layers;  // of the first group
  uint32_t heads, dim;
  RopePairing pairing;
};

// Real files, where a machine has them: SLUICE_MODEL_DIR holds their folder.
TEST(ManifestOfGguf, RealModelsReadAsTheirCardsSay) {
  const char* folder = std::getenv("SLUICE_MODEL_DIR");
  if (folder == nullptr) {
    GTEST_SKIP() << "SLUICE_MODEL_DIR is not set";
  }
  const RealModel models[] = {
      {"SmolLM2-135M-Instruct.Q4_1.gguf", 1, 30, 3, 64, RopePairing::interleaved},
      {"qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", 1, 24, 2, 64, RopePairing::neox},
      {"gemma3-270m-q4_k_m.gguf", 2, 3, 1, 256, RopePairing::neox},
  };
  for (const RealModel& model : models) {
    std::string path = std::string(folder) + "/" + model.file;
    if (!std::filesystem::exists(path)) {
      continue;
    }
    Result<ModelManifest> m = read_manifest(path);
    ASSERT_TRUE(m.has_value()) << m.error().to_string();
    EXPECT_EQ(m->groups.size(), model.groups) << path;
    EXPECT_EQ(m->groups[0].layers.size(), model.layers) << path;
    EXPECT_EQ(m->groups[0].planes[0].heads, model.heads) << path;
    EXPECT_EQ(m->groups[0].planes[0].dim, model.dim) << path;
    EXPECT_EQ(m->groups[0].rope.pairing, model.pairing) << path;
  }
}

}  // namespace
}  // namespace sluice
