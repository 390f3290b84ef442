#include "src/model/descriptor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>

#include "src/base/limits.h"
#include "src/base/prng.h"
#include "src/model/chain.h"
#include "tests/model/golden_json.h"

namespace sluice {
namespace {

struct Change {
  std::string_view field;
  std::function<void(Descriptor&)> apply;
};

// One change of each field that a caller can set, each giving a valid descriptor.
const std::vector<Change>& changes() {
  static const std::vector<Change> kChanges = {
      {"model_digest", [](Descriptor& d) { d.model_digest[0] ^= 1; }},
      {"lora_digest", [](Descriptor& d) { (*d.lora_digest)[0] ^= 1; }},
      {"lora_digest", [](Descriptor& d) { d.lora_digest.reset(); }},
      {"user_salt", [](Descriptor& d) { d.user_salt.push_back(0); }},
      {"kv_dtype", [](Descriptor& d) { d.planes[1].dtype = DType::bf16; }},
      {"compute_dtype", [](Descriptor& d) { d.compute_dtype = DType::f16; }},
      {"runtime_quantisation", [](Descriptor& d) { d.runtime_quantisation = "fp8 "; }},
      {"kv_scales", [](Descriptor& d) { d.kv_scales[3] = std::nextafter(2.0f, 3.0f); }},
      {"kv_scales", [](Descriptor& d) { d.kv_scales.clear(); }},
      {"attention", [](Descriptor& d) { d.window = 513; }},
      {"attention",
       [](Descriptor& d) {
         d.attention = AttentionKind::full;
         d.window = 0;
       }},
      {"layers", [](Descriptor& d) { d.layers[1] = 4; }},
      {"head_range", [](Descriptor& d) { d.first_head = 3; }},
      {"planes", [](Descriptor& d) { d.planes[0].dim = 64, d.planes[0].rotated_dims = 64; }},
      {"planes", [](Descriptor& d) { d.planes[0].rotated_dims = 128; }},
      {"planes", [](Descriptor& d) { d.planes[1].role = PlaneRole::k; }},
      {"rope", [](Descriptor& d) { d.rope.pairing = RopePairing::neox; }},
      {"rope", [](Descriptor& d) { d.rope.base = 500000.5; }},
      {"rope_scaling", [](Descriptor& d) { d.rope.factor = 8.5; }},
      {"rope_scaling", [](Descriptor& d) { d.rope.original_context = 8191; }},
      {"rope_scaling", [](Descriptor& d) { d.rope.low = 1.5; }},
      {"rope_scaling", [](Descriptor& d) { d.rope.high = 4.5; }},
      {"rope_scaling", [](Descriptor& d) { d.rope.factors = {1.0f}; }},
      {"page_tokens", [](Descriptor& d) { d.page_tokens = 64; }},
  };
  return kChanges;
}

// Offset of a field's length in encoded bytes.
size_t field_at(const Bytes& bytes, uint16_t id) {
  size_t at = 0;
  while (load_le<uint16_t>(bytes.data() + at) != id) {
    at += 6 + load_le<uint32_t>(bytes.data() + at + 2);
  }
  return at;
}

Errc refused(const Descriptor& d) {
  Result<Bytes> bytes = encode_descriptor(d);
  return bytes.has_value() ? Errc::ok : bytes.error().code;
}

TEST(Descriptor, GoldenBytesAndSpacesAreThoseOfTheSpecification) {
  nlohmann::json golden = golden_json("self_test.json");
  ASSERT_EQ(golden.size(), 3u);
  for (const auto& [name, entry] : golden.items()) {
    Bytes bytes = hex_bytes(entry["descriptor_hex"]);
    Result<Descriptor> d = parse_descriptor(bytes);
    ASSERT_TRUE(d.has_value()) << name << ": " << d.error().to_string();
    EXPECT_EQ(*encode_descriptor(*d), bytes) << name;
    EXPECT_EQ(hex(space_id(bytes)), entry["space_id"]) << name;
    EXPECT_EQ(d->layers.size(), entry["descriptor"]["layers"].size()) << name;
  }
  EXPECT_EQ(*parse_descriptor(hex_bytes(golden["self_test"]["descriptor_hex"])),
            self_test_descriptor());
}

TEST(Descriptor, ChangingAnyFieldGivesAnotherSpaceAndIsNamed) {
  Descriptor before = self_test_descriptor();
  Hash32 space = space_id(*encode_descriptor(before));
  for (const Change& change : changes()) {
    Descriptor after = before;
    change.apply(after);
    Result<Bytes> bytes = encode_descriptor(after);
    ASSERT_TRUE(bytes.has_value()) << change.field << ": " << bytes.error().to_string();
    EXPECT_NE(space_id(*bytes), space) << change.field;
    EXPECT_EQ(*parse_descriptor(*bytes), after) << change.field;
    std::vector<FieldDifference> found = diff(before, after);
    ASSERT_EQ(found.size(), 1u) << change.field;
    EXPECT_EQ(found[0].field, change.field);
    EXPECT_NE(found[0].here, found[0].there) << change.field;
    EXPECT_EQ(count_differences(*encode_descriptor(before), *bytes), 1u) << change.field;
    EXPECT_EQ(count_differences(*bytes, *bytes), 0u) << change.field;
  }
}

TEST(Descriptor, DifferencesReadAsSentences) {
  Descriptor here = self_test_descriptor();
  here.planes[0].dtype = here.planes[1].dtype = DType::f16;
  Descriptor there = here;
  there.planes[0].dtype = there.planes[1].dtype = DType::bf16;
  there.page_tokens = 128;
  EXPECT_EQ(to_string(diff(here, there)),
            "kv_dtype: f16 here, bf16 there; page_tokens: 32 here, 128 there");
  EXPECT_EQ(to_string(diff(here, here)), "");
}

TEST(Descriptor, DifferencesDoNotShowTheSalt) {
  Descriptor here = self_test_descriptor();
  Descriptor there = here;
  there.user_salt = {'s', 'e', 'c', 'r', 'e', 't'};
  std::string text = to_string(diff(here, there));
  EXPECT_EQ(text.find("secret"), std::string::npos);
  EXPECT_EQ(text.find(to_hex(there.user_salt)), std::string::npos);
}

TEST(Descriptor, AnyCutIsTruncated) {
  Bytes bytes = *encode_descriptor(self_test_descriptor());
  for (size_t length = 0; length < bytes.size(); ++length) {
    Result<Descriptor> cut = parse_descriptor(ByteSpan(bytes).first(length));
    ASSERT_TRUE(cut.has_error()) << length;
    EXPECT_EQ(cut.error().code, Errc::truncated) << length;
  }
}

TEST(Descriptor, BytesBehindTheLastFieldAreRefused) {
  Bytes bytes = *encode_descriptor(self_test_descriptor());
  bytes.push_back(0);
  EXPECT_EQ(parse_descriptor(bytes).error().code, Errc::bad_value);
}

TEST(Descriptor, UnknownMissingRepeatedAndMisplacedFieldsAreNamed) {
  const Bytes good = *encode_descriptor(self_test_descriptor());
  size_t lora = field_at(good, 3);
  size_t salt = field_at(good, 4);
  Bytes missing = good;
  missing.erase(missing.begin() + static_cast<ptrdiff_t>(lora),
                missing.begin() + static_cast<ptrdiff_t>(salt));
  Bytes repeated = good;
  repeated.insert(repeated.begin() + static_cast<ptrdiff_t>(salt),
                  good.begin() + static_cast<ptrdiff_t>(lora),
                  good.begin() + static_cast<ptrdiff_t>(salt));
  Bytes unknown = good;
  store_le<uint16_t>(unknown.data() + lora, 99);
  for (const Bytes& bytes : {missing, repeated, unknown}) {
    Result<Descriptor> d = parse_descriptor(bytes);
    ASSERT_TRUE(d.has_error());
    EXPECT_EQ(d.error().code, Errc::bad_value);
    EXPECT_NE(d.error().text.find("must stand"), std::string::npos) << d.error().text;
  }
  EXPECT_NE(parse_descriptor(missing).error().text.find("lora_digest"), std::string::npos);
}

TEST(Descriptor, LengthsThatAFieldDoesNotHaveAreRefused) {
  const Bytes good = *encode_descriptor(self_test_descriptor());
  for (uint16_t id = 1; id <= descriptor_field_names().size(); ++id) {
    if (id == 4 || id == 7) {
      continue;  // salt and quantisation have any length
    }
    size_t at = field_at(good, id);
    uint32_t length = load_le<uint32_t>(good.data() + at + 2);
    Bytes longer = good;
    store_le(longer.data() + at + 2, length + 1);
    longer.insert(longer.begin() + static_cast<ptrdiff_t>(at + 6 + length), 0);
    EXPECT_TRUE(parse_descriptor(longer).has_error()) << "field " << id;
  }
}

TEST(Descriptor, AnotherVersionIsRefusedAsSuch) {
  Bytes bytes = *encode_descriptor(self_test_descriptor());
  store_le<uint32_t>(bytes.data() + 6, 2);
  EXPECT_EQ(parse_descriptor(bytes).error().code, Errc::bad_version);
}

TEST(Descriptor, MoreThanTheLimitIsTooLarge) {
  EXPECT_EQ(parse_descriptor(Bytes(kDescriptorBytesMax + 1)).error().code, Errc::too_large);
  Descriptor d = self_test_descriptor();
  d.user_salt.resize(1025);
  EXPECT_EQ(refused(d), Errc::too_large);
}

TEST(Descriptor, ValuesOutsideTheirRangeAreRefused) {
  const std::vector<std::function<void(Descriptor&)>> bad = {
      [](Descriptor& d) { d.layers.clear(); },
      [](Descriptor& d) {
        d.layers = {3, 3};
      },
      [](Descriptor& d) {
        d.layers = {3, 1};
      },
      [](Descriptor& d) {
        d.layers = {1, 65536};
      },
      [](Descriptor& d) { d.heads = 0; },
      [](Descriptor& d) { d.heads = 3; },
      [](Descriptor& d) { d.planes.clear(); },
      [](Descriptor& d) { d.planes[0].rotated_dims = 129; },
      [](Descriptor& d) { d.planes[0].dtype = static_cast<DType>(7); },
      [](Descriptor& d) { d.compute_dtype = static_cast<DType>(0); },
      [](Descriptor& d) { d.window = 0; },
      [](Descriptor& d) { d.attention = AttentionKind::full; },
      [](Descriptor& d) { d.attention = static_cast<AttentionKind>(4); },
      [](Descriptor& d) { d.page_tokens = 48; },
      [](Descriptor& d) { d.page_tokens = 0; },
      [](Descriptor& d) { d.kv_scales.pop_back(); },
      [](Descriptor& d) { d.kv_scales[0] = -1; },
      [](Descriptor& d) { d.kv_scales[0] = std::numeric_limits<float>::quiet_NaN(); },
      [](Descriptor& d) { d.runtime_quantisation = "fp8\n"; },
      [](Descriptor& d) { d.token_hash = static_cast<TokenHash>(2); },
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    Descriptor d = self_test_descriptor();
    bad[i](d);
    EXPECT_EQ(refused(d), Errc::bad_value) << "case " << i;
  }
}

TEST(Descriptor, RopeHasOneSpelling) {
  const std::vector<std::function<void(Rope&)>> bad = {
      [](Rope& r) { r.base = 0; },
      [](Rope& r) { r.base = std::numeric_limits<double>::infinity(); },
      [](Rope& r) { r.pairing = RopePairing::none; },
      [](Rope& r) { r.pairing = static_cast<RopePairing>(3); },
      [](Rope& r) { r.scaling = static_cast<RopeScaling>(5); },
      [](Rope& r) { r.scaling = RopeScaling::none; },
      [](Rope& r) { r.scaling = RopeScaling::linear; },
      [](Rope& r) { r.attention_factor = 1; },
      [](Rope& r) { r.attention_factor = -0.0; },
      [](Rope& r) { r.factor = 0; },
      [](Rope& r) { r.factors = {0.0f}; },
      [](Rope& r) { r.factors_beyond = {1.0f}; },
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    Descriptor d = self_test_descriptor();
    bad[i](d.rope);
    EXPECT_EQ(refused(d), Errc::bad_value) << "case " << i;
  }
}

TEST(Descriptor, LongropeNeedsTheListThatTheContextPicks) {
  Descriptor d = self_test_descriptor();
  d.rope = {.pairing = RopePairing::neox,
            .base = 10000,
            .scaling = RopeScaling::longrope,
            .original_context = 4096,
            .factors = {1.0f, 2.0f},
            .factors_beyond = {3.0f, 4.0f}};
  EXPECT_EQ(refused(d), Errc::bad_value);
  Rope full = d.rope;
  d.rope = rope_in_use(full, 4096);
  EXPECT_EQ(d.rope.factors, (std::vector<float>{1.0f, 2.0f}));
  Hash32 near = space_id(*encode_descriptor(d));
  d.rope = rope_in_use(full, 4097);
  EXPECT_EQ(d.rope.factors, (std::vector<float>{3.0f, 4.0f}));
  EXPECT_NE(space_id(*encode_descriptor(d)), near);
}

TEST(Descriptor, MutatedBytesAreRefusedOrMeanWhatTheySay) {
  const Bytes good = *encode_descriptor(self_test_descriptor());
  Prng random(1);
  for (int i = 0; i < 20000; ++i) {
    Bytes bytes = good;
    for (uint64_t n = 1 + random.below(3); n > 0; --n) {
      bytes[random.below(bytes.size())] = static_cast<uint8_t>(random.next());
    }
    Result<Descriptor> d = parse_descriptor(bytes);
    if (d.has_value()) {
      ASSERT_EQ(*encode_descriptor(*d), bytes);
    }
  }
}

TEST(Descriptor, PageShapeHasItsPlanesLayersAndTokens) {
  PageGeometry page = geometry(self_test_descriptor());
  EXPECT_EQ(page.layers, 2u);
  EXPECT_EQ(page.n_tokens, 32u);
  EXPECT_EQ(page.bytes(), 2u * 32 * (2 * 128 * 1 + 2 * 64 * 2));
}

TEST(PageGeometry, WidthsThatOverflowAreTooLarge) {
  PageGeometry page = {
      .planes = {{.heads = 0xffffffff, .dim = 0xffffffff}}, .layers = 1, .n_tokens = 4096};
  EXPECT_EQ(page.validate().error().code, Errc::too_large);
  page.planes[0] = {.heads = 1, .dim = 1u << 20};
  page.layers = 4096;
  page.n_tokens = 64;
  EXPECT_EQ(page.validate().error().code, Errc::too_large);
}

// The rows of the first table of IDENTITY.md are "| id | `name` | ..." in this order, and no more.
TEST(IdentityText, FieldTableNamesTheFieldsOfTheCode) {
  std::ifstream file(SLUICE_SOURCE_DIR "/src/model/IDENTITY.md");
  std::string line;
  while (std::getline(file, line) && line.rfind("|---|", 0) != 0) {
  }
  size_t id = 0;
  for (std::string_view name : descriptor_field_names()) {
    ASSERT_TRUE(std::getline(file, line));
    std::string row = fmt::format("| {} | `{}` | ", ++id, name);
    EXPECT_EQ(line.substr(0, row.size()), row);
  }
  std::getline(file, line);
  EXPECT_EQ(line, "");
}

}  // namespace
}  // namespace sluice
