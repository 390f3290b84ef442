#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "src/model/manifest.h"

namespace sluice {
namespace {

using Json = nlohmann::json;

Json tiny(const std::string& type, int layers) {
  return {{"model_type", type},
          {"num_hidden_layers", layers},
          {"hidden_size", 512},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 2},
          {"max_position_embeddings", 4096}};
}

Json with(Json config, const Json& more) {
  config.update(more);
  return config;
}

Result<ModelManifest> manifest_of(const Json& config) {
  return manifest_from_hf_config(config.dump());
}

Errc refused(const Json& config) {
  Result<ModelManifest> manifest = manifest_of(config);
  return manifest.has_value() ? Errc::ok : manifest.error().code;
}

TEST(ManifestOfConfig, LlamaPairsAreHalfSplit) {
  ModelManifest m = *manifest_of(with(tiny("llama", 3), {{"rope_theta", 500000.0}}));
  EXPECT_EQ(m.source, ManifestSource::hf_config);
  ASSERT_EQ(m.groups.size(), 1u);
  EXPECT_EQ(m.groups[0].layers.size(), 3u);
  EXPECT_EQ(m.groups[0].planes[0], (Plane{PlaneRole::k, DType::f16, 2, 64, 64}));
  EXPECT_EQ(m.groups[0].rope, (Rope{.pairing = RopePairing::neox, .base = 500000}));
}

TEST(ManifestOfConfig, ScalingOfLlamaThreeIsRead) {
  Json scaling = {{"rope_type", "llama3"},
                  {"factor", 8.0},
                  {"low_freq_factor", 1.0},
                  {"high_freq_factor", 4.0},
                  {"original_max_position_embeddings", 1024}};
  Rope expected = {.pairing = RopePairing::neox,
                   .base = 10000,
                   .scaling = RopeScaling::llama3,
                   .factor = 8,
                   .original_context = 1024,
                   .low = 1,
                   .high = 4};
  EXPECT_EQ(manifest_of(with(tiny("llama", 1), {{"rope_scaling", scaling}}))->groups[0].rope,
            expected);
  // The newer spelling holds the base as well.
  scaling["rope_theta"] = 20000;
  expected.base = 20000;
  EXPECT_EQ(manifest_of(with(tiny("llama", 1), {{"rope_parameters", scaling}}))->groups[0].rope,
            expected);
}

TEST(ManifestOfConfig, QwenWindowsBeginAboveMaxWindowLayersIfUsed) {
  Json config = with(tiny("qwen2", 4), {{"sliding_window", 128}, {"max_window_layers", 3}});
  EXPECT_EQ(manifest_of(config)->groups.size(), 1u);
  config["use_sliding_window"] = true;
  ModelManifest m = *manifest_of(config);
  ASSERT_EQ(m.groups.size(), 2u);
  EXPECT_EQ(m.groups[1].layers, std::vector<uint32_t>{3});
  EXPECT_EQ(m.groups[1].window, 128u);
}

TEST(ManifestOfConfig, MistralHasItsWindowOnAllLayersOrNone) {
  Json config = with(tiny("mistral", 2), {{"sliding_window", nullptr}});
  EXPECT_EQ(manifest_of(config)->groups[0].attention, AttentionKind::full);
  config["sliding_window"] = 64;
  ModelManifest m = *manifest_of(config);
  ASSERT_EQ(m.groups.size(), 1u);
  EXPECT_EQ(m.groups[0].attention, AttentionKind::window);
}

TEST(ManifestOfConfig, ModelsThatDifferFromLlamaElsewhereHaveItsKv) {
  for (const char* type : {"olmo", "olmo2", "olmoe", "granite", "granitemoe", "starcoder2"}) {
    EXPECT_EQ(manifest_of(tiny(type, 2))->groups, manifest_of(tiny("llama", 2))->groups) << type;
  }
  EXPECT_EQ(manifest_of(tiny("mixtral", 2))->groups[0].rope.base, 1000000);
  EXPECT_EQ(manifest_of(tiny("phi", 1))->groups[0].planes[0].rotated_dims, 32u);
  EXPECT_EQ(manifest_of(tiny("stablelm", 1))->groups[0].planes[0].rotated_dims, 16u);
  EXPECT_EQ(
      manifest_of(with(tiny("phi", 1), {{"partial_rotary_factor", 0.25}}))->groups[0].planes[0],
      (Plane{PlaneRole::k, DType::f16, 2, 64, 16}));
}

TEST(ManifestOfConfig, WindowsOfExpertsModelsAreTakenFromALayerListOnly) {
  for (const char* type : {"qwen2_moe", "qwen3_moe"}) {
    Json config = with(tiny(type, 2), {{"sliding_window", 64}, {"use_sliding_window", false}});
    EXPECT_EQ(manifest_of(config)->groups[0].attention, AttentionKind::full) << type;
    config["use_sliding_window"] = true;
    EXPECT_EQ(refused(config), Errc::unsupported) << type;
    config["layer_types"] = {"sliding_attention", "full_attention"};
    EXPECT_EQ(manifest_of(config)->groups[1].layers, std::vector<uint32_t>{0}) << type;
  }
}

TEST(ManifestOfConfig, GemmaThreeHasTwoRopes) {
  Json config =
      with(tiny("gemma3_text", 12),
           {{"sliding_window", 512}, {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}}});
  ModelManifest m = *manifest_of(config);
  ASSERT_EQ(m.groups.size(), 2u);
  EXPECT_EQ(m.groups[0].layers, (std::vector<uint32_t>{5, 11}));
  EXPECT_EQ(m.groups[0].planes[0].dim, 256u);
  EXPECT_EQ(m.groups[0].rope.base, 1000000);
  EXPECT_EQ(m.groups[0].rope.scaling, RopeScaling::linear);
  EXPECT_EQ(m.groups[1].rope, (Rope{.pairing = RopePairing::neox, .base = 10000}));
  config["rope_parameters"] = {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 5e5}}},
                               {"sliding_attention", {{"rope_theta", 2e4}}}};
  config["layer_types"] = std::vector<std::string>(12, "sliding_attention");
  config["layer_types"][0] = "full_attention";
  m = *manifest_of(config);
  EXPECT_EQ(m.groups[0].layers, std::vector<uint32_t>{0});
  EXPECT_EQ(m.groups[0].rope, (Rope{.pairing = RopePairing::neox, .base = 500000}));
  EXPECT_EQ(m.groups[1].rope, (Rope{.pairing = RopePairing::neox, .base = 20000}));
}

TEST(ManifestOfConfig, PhiRotatesAPartAndHasTwoLists) {
  Json config =
      with(tiny("phi3", 1),
           {{"partial_rotary_factor", 0.75},
            {"original_max_position_embeddings", 2048},
            {"rope_scaling",
             {{"type", "longrope"}, {"short_factor", {1.0, 2.0}}, {"long_factor", {3.0, 4.0}}}}});
  KvGroup group = manifest_of(config)->groups[0];
  EXPECT_EQ(group.planes[0].rotated_dims, 48u);
  EXPECT_EQ(group.rope.original_context, 2048u);
  EXPECT_EQ(rope_in_use(group.rope, 4096).factors, (std::vector<float>{3, 4}));
}

TEST(ManifestOfConfig, WhatIsNotKnownIsRefused) {
  EXPECT_EQ(refused(tiny("mamba", 1)), Errc::unsupported);
  EXPECT_EQ(refused(with(tiny("llama", 1), {{"rope_scaling", {{"type", "dynamic"}}}})),
            Errc::unsupported);
  EXPECT_EQ(refused(with(tiny("qwen3", 1), {{"layer_types", {"linear_attention"}}})),
            Errc::unsupported);
  EXPECT_EQ(refused(with(tiny("qwen3", 2), {{"layer_types", {"full_attention"}}})),
            Errc::bad_value);
}

TEST(ManifestOfConfig, AnythingButAWholeConfigIsABadValue) {
  EXPECT_EQ(manifest_from_hf_config("").error().code, Errc::bad_value);
  EXPECT_EQ(manifest_from_hf_config("[1]").error().code, Errc::bad_value);
  EXPECT_EQ(manifest_from_hf_config("{\"model_type\":").error().code, Errc::bad_value);
  for (const char* key :
       {"num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings"}) {
    Json config = tiny("llama", 2);
    config.erase(key);
    EXPECT_EQ(refused(config), Errc::bad_value) << key;
    for (const Json& value : std::initializer_list<Json>{-1, "2", 1.5, 0x100000000}) {
      config[key] = value;
      EXPECT_EQ(refused(config), Errc::bad_value) << key << " " << value;
    }
  }
  EXPECT_EQ(refused(with(tiny("llama", 1), {{"num_attention_heads", 0}})), Errc::bad_value);
  EXPECT_EQ(refused(with(tiny("llama", 1), {{"partial_rotary_factor", 2}})), Errc::bad_value);
}

TEST(ManifestOfConfig, FolderIsReadThroughItsConfig) {
  std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "hf_model";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << tiny("llama", 2).dump();
  EXPECT_EQ(read_manifest(folder.string())->layers, 2u);
  std::filesystem::remove_all(folder);
  EXPECT_EQ(read_manifest(folder.string()).error().code, Errc::io_error);
}

}  // namespace
}  // namespace sluice
