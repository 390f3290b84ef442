#include "src/cli/sequence.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

TEST(ParseTokens, TakesNumbersBetweenSpacesCommasAndBrackets) {
  EXPECT_EQ(*parse_tokens("[1, 22,333]\n4294967295"),
            (std::vector<uint32_t>{1, 22, 333, 4294967295u}));
  EXPECT_TRUE(parse_tokens(" \n")->empty());
}

TEST(ParseTokens, NamesTheOffsetOfWhatIsNoToken) {
  for (const char* bad : {"1 x", "1 -2", "1 2.5", "1 4294967296", "1 2x"}) {
    Result<std::vector<uint32_t>> tokens = parse_tokens(bad);
    ASSERT_TRUE(tokens.has_error()) << bad;
    EXPECT_EQ(tokens.error().code, Errc::bad_value);
    EXPECT_NE(tokens.error().text.find("offset 2"), std::string::npos) << tokens.error().text;
  }
}

TEST(ReadTokens, StopsAtAFileWithoutEnd) {
  EXPECT_EQ(read_tokens("/dev/zero").error().code, Errc::too_large);
}

TEST(Sequence, NeedsModelAndTokens) {
  EXPECT_EQ(open_sequence({}, {}).error().code, Errc::invalid_argument);
  SequenceOptions options;
  options.model = "/nonexistent/model.gguf";
  options.tokens = "/nonexistent/tokens";
  EXPECT_EQ(open_sequence(options, {}).error().code, Errc::io_error);
}

}  // namespace
}  // namespace sluice::cli
