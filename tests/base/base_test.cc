#include <gtest/gtest.h>
#include <xxhash.h>

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/base/clock.h"
#include "src/base/prng.h"
#include "src/base/secret.h"
#include "src/base/units.h"

namespace sluice {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) {
    return SLUICE_ERR(Errc::invalid_argument, "{} is odd", value);
  }
  return value / 2;
}

Result<int> quarter(int value) {
  SLUICE_TRY(int first, half(value));
  return half(first);
}

TEST(Result, TryPassesValuesAndErrorsOn) {
  EXPECT_EQ(*quarter(8), 2);
  Result<int> odd = quarter(6);
  ASSERT_TRUE(odd.has_error());
  EXPECT_EQ(odd.error().code, Errc::invalid_argument);
  EXPECT_NE(odd.error().to_string().find("invalid_argument: 3 is odd [base_test.cc:"),
            std::string::npos);
}

TEST(ResultDeathTest, ReadingTheValueOfAnErrorStopsTheProcess) {
  EXPECT_DEATH({ [[maybe_unused]] int v = *half(1); }, "broken invariant");
}

TEST(Errc, EveryNumberRoundTripsAndUnknownOnesAreProtocolErrors) {
  EXPECT_EQ(errc_from_wire(24), Errc::bad_checksum);
  EXPECT_EQ(errc_name(Errc::bad_checksum), "bad_checksum");
  EXPECT_EQ(errc_from_wire(4000), Errc::protocol_error);
  EXPECT_EQ(errc_name(static_cast<Errc>(4000)), "unknown");
}

TEST(ByteReader, ReadsWhatTheWriterWrote) {
  ByteWriter writer;
  writer.write(uint16_t{0x0201}).write(uint64_t{7}).write_zeros(3).write_bytes(as_bytes("ab"));
  ByteReader reader(writer.bytes(), "sample");
  EXPECT_EQ(*reader.read<uint16_t>("a"), 0x0201);
  EXPECT_EQ(writer.bytes()[0], 0x01);
  EXPECT_EQ(*reader.read<uint64_t>("b"), 7u);
  EXPECT_TRUE(reader.skip_reserved(3, "c").has_value());
  EXPECT_EQ(to_hex(*reader.read_bytes(2, "d")), "6162");
  EXPECT_TRUE(reader.expect_end().has_value());
}

TEST(ByteReader, NamesTheFieldThatIsCutOff) {
  Bytes bytes(3);
  ByteReader reader(bytes, "sample");
  auto result = reader.read<uint32_t>("length");
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().code, Errc::truncated);
  EXPECT_EQ(result.error().text, "sample: field 'length' at offset 0 needs 4 bytes, 3 are left");
}

TEST(ByteReader, RefusesReservedBytesAndLeftOvers) {
  Bytes bytes = {0, 0, 5, 0};
  ByteReader reader(bytes, "sample");
  EXPECT_EQ(reader.expect_end().error().code, Errc::bad_value);
  EXPECT_EQ(reader.skip_reserved(4, "pad").error().code, Errc::reserved_set);
}

TEST(Hex, RefusesOddLengthsAndOtherCharacters) {
  EXPECT_EQ(*from_hex("0aFF"), (Bytes{0x0a, 0xff}));
  EXPECT_EQ(from_hex("abc").error().code, Errc::bad_value);
  EXPECT_EQ(from_hex("zz").error().code, Errc::bad_value);
}

TEST(Checksum, EqualDigestsAreEqualInAllTheirBytes) {
  const Hash32 digest = sha256(as_bytes("abc"));
  EXPECT_TRUE(equal_in_constant_time(digest, sha256(as_bytes("abc"))));
  for (size_t i = 0; i < digest.size(); ++i) {
    Hash32 other = digest;
    other[i] ^= 1;
    EXPECT_FALSE(equal_in_constant_time(digest, other)) << i;
  }
}

TEST(Checksum, MatchesPublishedVectors) {
  EXPECT_EQ(xxh3_64({}), 0x2d06800538d394c2ull);
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

// Every path of the algorithm (lengths up to 240, blocks of 1024) at every alignment.
TEST(Checksum, IsTheLibrarysOnEveryCpu) {
  Prng prng(1);
  Bytes bytes(70000);
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(prng.next());
  }
  for (size_t length = 0; length < 3000; ++length) {
    ByteSpan part = ByteSpan(bytes).subspan(length % 64, length);
    ASSERT_EQ(xxh3_64(part), XXH3_64bits(part.data(), part.size())) << length;
  }
  EXPECT_EQ(xxh3_64(bytes), XXH3_64bits(bytes.data(), bytes.size()));
}

TEST(Sha256, PartsHashLikeTheWholeAndFinishStartsAnew) {
  Sha256 hash;
  EXPECT_EQ(hash.update(as_bytes("a")).update(as_bytes("bc")).finish(), sha256(as_bytes("abc")));
  EXPECT_EQ(hash.finish(), sha256({}));
}

TEST(Clock, ManualStepsAndSteadyNeverGoesBack) {
  ManualClock manual;
  manual.advance_ns(5);
  EXPECT_EQ(manual.now_ns(), 5u);
  SteadyClock steady;
  uint64_t first = steady.now_ns();
  EXPECT_GE(steady.now_ns(), first);
}

TEST(Units, ReadWhatPeopleWriteAndRefuseTheRest) {
  EXPECT_EQ(*parse_bytes("1GiB"), 1ull << 30);
  EXPECT_EQ(*parse_bytes("500 kB"), 500'000u);
  EXPECT_EQ(*parse_bytes("4096"), 4096u);
  EXPECT_EQ(*parse_milliseconds("5min"), 300'000u);
  for (const char* bad : {"", "GiB", "-1", "1.5GiB", "1gib", "20000000TiB", "1GiB "}) {
    EXPECT_EQ(parse_bytes(bad).error().code, Errc::bad_value) << bad;
  }
  EXPECT_EQ(parse_milliseconds("3").error().code, Errc::bad_value);
  EXPECT_EQ(format_bytes(3ull << 29), "1.5 GiB");
  EXPECT_EQ(format_bytes(17), "17 B");
}

TEST(Prng, SameSeedSameNumbersWithinBounds) {
  Prng a(7);
  Prng b(7);
  for (int i = 0; i < 1000; ++i) {
    uint64_t x = a.below(10);
    EXPECT_LT(x, 10u);
    EXPECT_EQ(x, b.below(10));
  }
  EXPECT_LT(a.unit(), 1.0);
}

}  // namespace
}  // namespace sluice
