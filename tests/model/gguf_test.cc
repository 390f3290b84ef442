#include "src/model/gguf.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "src/base/prng.h"
#include "tests/model/gguf_builder.h"

namespace sluice {
namespace {

GgufBuilder sample(uint32_t version = 3) {
  GgufBuilder builder(version);
  builder.text("name", "sample").u32("count", 7).f32("ratio", 0.5f).boolean("flag", true);
  builder.i32s("list", {1, 2, 3}).texts("words", {"a", "", "bcd"});
  return builder.f32_tensor("weights", {1, 2, 3}).f32_tensor("rope_freqs.weight", {4, 5});
}

std::string temp_file(const std::string& name) {
  return (std::filesystem::path(testing::TempDir()) / name).string();
}

Errc refused(ByteSpan bytes) {
  Result<Gguf> gguf = parse_gguf(bytes);
  return gguf.has_value() ? Errc::ok : gguf.error().code;
}

TEST(Gguf, ReadsMetadataAndTensorsOfVersionsTwoAndThree) {
  for (uint32_t version : {2u, 3u}) {
    Gguf gguf = *parse_gguf(sample(version).build());
    EXPECT_EQ(*gguf.text("name"), "sample");
    EXPECT_EQ(*gguf.integer("count"), 7u);
    EXPECT_EQ(*gguf.number("ratio"), 0.5);
    EXPECT_EQ(*gguf.integers("list", 3), (std::vector<uint64_t>{1, 2, 3}));
    EXPECT_EQ(*gguf.integers("count", 2), (std::vector<uint64_t>{7, 7}));
    EXPECT_TRUE(gguf.has("words"));
    ASSERT_EQ(gguf.tensors.size(), 2u);
    EXPECT_EQ(gguf.tensors[1].name, "rope_freqs.weight");
    EXPECT_EQ(gguf.tensors[1].offset, 32u);
    EXPECT_EQ(gguf.data_offset, sample(version).build().size() - 64);
  }
}

TEST(Gguf, AbsentKeysAreNotFoundAndOtherTypesBadValues) {
  Gguf gguf = *parse_gguf(sample().i32s("minus", {-1}).build());
  EXPECT_EQ(gguf.integer("absent").error().code, Errc::not_found);
  EXPECT_EQ(gguf.text("absent").error().code, Errc::not_found);
  EXPECT_EQ(gguf.integers("absent", 1).error().code, Errc::not_found);
  EXPECT_EQ(gguf.integer("name").error().code, Errc::bad_value);
  EXPECT_EQ(gguf.integer("flag").error().code, Errc::bad_value);
  EXPECT_EQ(gguf.number("count").error().code, Errc::bad_value);
  EXPECT_EQ(gguf.text("count").error().code, Errc::bad_value);
  EXPECT_EQ(gguf.integers("list", 4).error().code, Errc::bad_value);
  EXPECT_EQ(gguf.integers("minus", 1).error().code, Errc::bad_value);
}

TEST(Gguf, AnyCutOfTheFrontIsTruncated) {
  Bytes bytes = sample().build();
  uint64_t front = parse_gguf(bytes)->data_offset - 31;  // padding may be missing
  for (size_t length = 0; length < front; ++length) {
    Errc code = refused(ByteSpan(bytes).first(length));
    ASSERT_TRUE(code == Errc::truncated || code == Errc::ok) << length;
    ASSERT_TRUE(code == Errc::truncated || length + 32 > front) << length;
  }
}

TEST(Gguf, OtherFilesVersionsAndByteOrdersAreRefused) {
  Bytes bytes = sample().build();
  bytes[0] = 'g';
  EXPECT_EQ(refused(bytes), Errc::bad_magic);
  EXPECT_EQ(refused(sample(1).build()), Errc::bad_version);
  EXPECT_EQ(refused(sample(4).build()), Errc::bad_version);
  EXPECT_EQ(refused(sample(0x03000000).build()), Errc::bad_version);
}

TEST(Gguf, CountsBeyondTheLimitsAreTooLarge) {
  for (size_t offset : {8u, 16u}) {
    Bytes bytes = sample().build();
    store_le<uint64_t>(bytes.data() + offset, uint64_t{1} << 40);
    EXPECT_EQ(refused(bytes), Errc::too_large) << offset;
  }
}

TEST(Gguf, HugeLengthsDoNotOverflow) {
  ByteWriter array;
  array.write(uint32_t{10}).write(uint64_t{1} << 61);
  EXPECT_EQ(refused(GgufBuilder().raw("list", 9, array.bytes()).build()), Errc::too_large);
  ByteWriter texts;
  texts.write(uint32_t{8}).write(~uint64_t{0});
  EXPECT_EQ(refused(GgufBuilder().raw("list", 9, texts.bytes()).build()), Errc::truncated);
  ByteWriter text;
  text.write(~uint64_t{0});
  EXPECT_EQ(refused(GgufBuilder().raw("name", 8, text.bytes()).build()), Errc::truncated);
}

TEST(Gguf, UnknownTypesNestedArraysAndRepeatedKeysAreRefused) {
  EXPECT_EQ(refused(GgufBuilder().raw("x", 13, Bytes(8)).build()), Errc::bad_value);
  ByteWriter nested;
  nested.write(uint32_t{9}).write(uint64_t{1});
  EXPECT_EQ(refused(GgufBuilder().raw("x", 9, nested.bytes()).build()), Errc::bad_value);
  EXPECT_EQ(refused(GgufBuilder().u32("x", 1).u32("x", 1).build()), Errc::bad_value);
}

TEST(Gguf, AlignmentMustBeAPowerOfTwo) {
  EXPECT_EQ(refused(GgufBuilder().u32("general.alignment", 48).build()), Errc::bad_value);
  EXPECT_EQ(refused(GgufBuilder().u32("general.alignment", 0).build()), Errc::bad_value);
  EXPECT_EQ(parse_gguf(GgufBuilder().u32("general.alignment", 4096).build())->data_offset, 4096u);
}

TEST(Gguf, LongArraysKeepNothing) {
  Gguf gguf =
      *parse_gguf(GgufBuilder().i32s("list", std::vector<int32_t>(kGgufArrayMax + 1)).build());
  EXPECT_TRUE(std::holds_alternative<GgufSkipped>(gguf.metadata.find("list")->second));
}

TEST(Gguf, FileIsReadBeyondTheFirstPieceAndGivesItsRopeTensors) {
  std::string path = temp_file("long.gguf");
  std::vector<std::string> words(300000, "vocabulary");
  sample().texts("more words", words).save(path);
  Result<Gguf> gguf = read_gguf(path);
  ASSERT_TRUE(gguf.has_value()) << gguf.error().to_string();
  EXPECT_GT(gguf->data_offset, 5'000'000u);
  ASSERT_EQ(gguf->small.size(), 1u);
  EXPECT_EQ(gguf->small.find("rope_freqs.weight")->second, (std::vector<float>{4, 5}));
}

TEST(Gguf, FileThatEndsBeforeItsRopeTensorIsAnError) {
  std::string path = temp_file("cut.gguf");
  sample().save(path);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 30);
  EXPECT_EQ(read_gguf(path).error().code, Errc::io_error);
  std::filesystem::resize_file(path, 40);
  EXPECT_EQ(read_gguf(path).error().code, Errc::truncated);
}

TEST(Gguf, FoldersAndMissingFilesAreInputErrors) {
  EXPECT_EQ(read_gguf(temp_file("none.gguf")).error().code, Errc::io_error);
  EXPECT_EQ(read_gguf(testing::TempDir()).error().code, Errc::io_error);
  EXPECT_EQ(read_gguf("/dev/zero").error().code, Errc::io_error);
}

TEST(Gguf, MutatedBytesNeverCrash) {
  const Bytes good = sample().build();
  Prng random(2);
  int refused_count = 0;
  for (int i = 0; i < 20000; ++i) {
    Bytes bytes = good;
    for (uint64_t n = 1 + random.below(3); n > 0; --n) {
      bytes[random.below(bytes.size())] = static_cast<uint8_t>(random.next());
    }
    refused_count += refused(bytes) != Errc::ok;
  }
  EXPECT_GT(refused_count, 5000);
}

}  // namespace
}  // namespace sluice
