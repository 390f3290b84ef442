// Exit codes against the table of docs/cli.md, and the text of progress bars.
#include "src/cli/output.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "src/cli/exit_code.h"
#include "src/cli/page_set.h"
#include "src/cli/progress.h"

namespace sluice::cli {
namespace {

// The numbers of the table and what its rows say.
std::map<int, std::string> documented() {
  std::ifstream file(SLUICE_SOURCE_DIR "/docs/cli.md");
  std::map<int, std::string> out;
  std::string line;
  while (std::getline(file, line) && line != "## Exit codes") {
  }
  while (std::getline(file, line) && line.rfind("## ", 0) != 0) {
    std::istringstream row(line);
    std::string bar;
    int code = 0;
    if (row >> bar >> code && bar == "|") {
      out[code] = line;
    }
  }
  return out;
}

TEST(ExitCode, TableListsTheErrorsOfEachCode) {
  const std::map<int, std::string> table = documented();
  ASSERT_EQ(table.size(), 5u);
  for (uint32_t number = 1; number < 200; ++number) {
    const auto code = static_cast<Errc>(number);
    if (errc_name(code) == "unknown") {
      continue;
    }
    const auto exit = static_cast<int>(exit_for(code));
    for (const auto& [documented_exit, row] : table) {
      const bool listed = row.find(fmt::format("`{}`", errc_name(code))) != std::string::npos;
      EXPECT_EQ(listed, exit == documented_exit && exit != static_cast<int>(Exit::failed))
          << errc_name(code) << " and the row of exit code " << documented_exit;
    }
  }
  EXPECT_EQ(exit_for(Errc::ok), Exit::good);
}

TEST(ProgressLine, ShowsPartRateAndTimeLeft) {
  ProgressState state{.label = "get",
                      .unit = ProgressUnit::pages,
                      .total = 400,
                      .done = 100,
                      .moved = 200 << 20,
                      .elapsed_ns = 20'000'000'000};
  EXPECT_EQ(progress_line(state),
            "get    [#####---------------]  25%  100/400 pages  10 MiB/s  1:00 left");
  state.total = 40'000;
  EXPECT_NE(progress_line(state).find("2:13:00 left"), std::string::npos) << progress_line(state);
}

TEST(ProgressLine, BytesAndTheEndsOfTheBar) {
  ProgressState state{.label = "digest", .unit = ProgressUnit::bytes, .total = 2048};
  EXPECT_EQ(progress_line(state), "digest [--------------------]   0%  0 B/2 KiB");
  state.done = 2048;
  EXPECT_EQ(progress_line(state), "digest [####################] 100%  2 KiB/2 KiB");
  state.total = 0;
  EXPECT_NE(progress_line(state).find("100%"), std::string::npos);
}

TEST(ParseKeys, TakesHexOfOneKeyAndNamesWhatIsNone) {
  const std::string hex(64, 'a');
  EXPECT_EQ(to_hex(parse_keys({hex})->front()), hex);
  for (const std::string bad : {"", "abc", "zz"}) {
    auto keys = parse_keys({hex, bad});
    ASSERT_TRUE(keys.has_error()) << bad;
    EXPECT_EQ(keys.error().code, Errc::invalid_argument);
    EXPECT_NE(keys.error().text.find("'" + bad + "'"), std::string::npos) << keys.error().text;
  }
}

TEST(OpenPages, NeedsExactlyOneSpaceAndOneChoiceOfPages) {
  const std::string key(64, 'a');
  SequenceOptions both{.model = "m", .descriptor = "d", .tokens = "t"};
  EXPECT_EQ(open_pages(both, {}, {}).error().code, Errc::invalid_argument);
  SequenceOptions tokens{.descriptor = "d", .tokens = "t"};
  EXPECT_EQ(open_pages(tokens, {key}, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(open_pages({}, {key}, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(open_pages({}, {}, {}).error().code, Errc::invalid_argument);
  SequenceOptions absent{.descriptor = "/nonexistent/d"};
  EXPECT_EQ(open_pages(absent, {key}, {}).error().code, Errc::io_error);
}

}  // namespace
}  // namespace sluice::cli
