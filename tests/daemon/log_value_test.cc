// Log lines: what stands in their fields, and whether the document knows all events.
#include "src/daemon/log_value.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

namespace sluice::daemon {
namespace {

TEST(LogValue, IsQuotedWhereItIsNotOneWord) {
  EXPECT_EQ(log_value("/run/sluice.sock"), "/run/sluice.sock");
  EXPECT_EQ(log_value("a page of 3 bytes"), "\"a page of 3 bytes\"");
  EXPECT_EQ(log_value("a=b"), "\"a=b\"");
  EXPECT_EQ(log_value(""), "\"\"");
}

TEST(LogValue, EndsNeitherTheValueNorTheLine) {
  EXPECT_EQ(log_value("x\" level=error event=\"y"), "\"x' level=error event='y\"");
  EXPECT_EQ(log_value("a\nb\tc\x7f\\"), "\"a?b?c??\"");
}

// The names behind each `mark`.
std::set<std::string> names_behind(std::string_view mark, const std::string& text) {
  std::set<std::string> out;
  for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos;) {
    at += mark.size();
    const size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at);
    out.insert(text.substr(at, end - at));
  }
  return out;
}

std::string contents(const std::filesystem::path& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

TEST(LogEvents, AreThoseOfTheDocument) {
  const std::filesystem::path source = SLUICE_SOURCE_DIR;
  std::set<std::string> written;
  for (const auto& file : std::filesystem::directory_iterator(source / "src/daemon")) {
    written.merge(names_behind("event=", contents(file.path())));
  }
  const std::string document = contents(source / "docs/operations.md");
  const size_t begin = document.find("| event | level |");
  ASSERT_NE(begin, std::string::npos);
  const std::string table = document.substr(begin, document.find("\n\n", begin) - begin);
  EXPECT_EQ(written, names_behind("\n| `", table));
}

}  // namespace
}  // namespace sluice::daemon
