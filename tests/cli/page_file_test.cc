#include "src/cli/page_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/temp_folder.h"

namespace sluice::cli {
namespace {

class PageFileTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_ / name; }

  size_t files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

  testing::TempFolder temp_;
  std::filesystem::path folder_ = temp_.path();
};

TEST_F(PageFileTest, WhatIsWrittenIsReadAgainAndOnlyTheOwnerMay) {
  ASSERT_TRUE(write_file(path("a"), as_bytes("first")).has_value());
  ASSERT_TRUE(write_file(path("a"), as_bytes("second")).has_value());
  EXPECT_EQ(*read_file(path("a")), "second");
  EXPECT_EQ(*read_file(path("a"), 3), "sec");
  EXPECT_EQ(files(), 1u);

  struct stat info {};

  ASSERT_EQ(stat(path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777u, 0600u);
}

TEST_F(PageFileTest, LongFilesAreReadWhole) {
  std::string text(300'001, 'x');
  text[200'000] = 'y';
  ASSERT_TRUE(write_file(path("a"), as_bytes(text)).has_value());
  EXPECT_EQ(*read_file(path("a")), text);
  EXPECT_EQ(*read_file(path("a"), text.size()), text);
  EXPECT_EQ(read_file(path("a"), 200'001)->back(), 'y');
}

TEST_F(PageFileTest, AWriteThatFailsLeavesWhatWasThere) {
  std::filesystem::create_directory(path("a"));  // a rename onto it fails
  Status written = write_file(path("a"), as_bytes("text"));
  ASSERT_TRUE(written.has_error());
  EXPECT_EQ(written.error().code, Errc::io_error);
  EXPECT_NE(written.error().text.find(path("a")), std::string::npos) << written.error().text;
  EXPECT_EQ(files(), 1u);
  EXPECT_EQ(write_file(path("none/b"), as_bytes("text")).error().code, Errc::io_error);
}

TEST_F(PageFileTest, WhatCannotBeReadIsNamed) {
  EXPECT_NE(read_file(folder_).error().text.find("is a folder"), std::string::npos);
  EXPECT_NE(read_file(path("none")).error().text.find("No such file"), std::string::npos);
  ASSERT_TRUE(write_file(path("a"), as_bytes("x")).has_value());
  EXPECT_EQ(make_folder(path("a")).error().code, Errc::io_error);
  EXPECT_TRUE(make_folder(path("b/c")).has_value());
}

TEST_F(PageFileTest, AFolderStandsForThePageFilesInIt) {
  for (const char* name : {"b.page", "a.page", "x.descriptor", "c.page.tmp-7"}) {
    ASSERT_TRUE(write_file(path(name), as_bytes("x")).has_value());
  }
  ASSERT_EQ(mkfifo(path("pipe.page").c_str(), 0600), 0);
  std::filesystem::create_directory(path("empty"));
  PageProblems unreadable;
  EXPECT_EQ(page_files({"named", path("empty"), folder_}, unreadable),
            (std::vector<std::string>{"named", path("a.page"), path("b.page"), path("pipe.page")}));
  ASSERT_EQ(unreadable.size(), 1u);
  EXPECT_EQ(unreadable.list()[0]["page"], path("empty"));
  EXPECT_EQ(unreadable.exit_code(), 1);
}

TEST_F(PageFileTest, APageFileIsARegularFile) {
  ASSERT_TRUE(write_file(path("a.page"), as_bytes("bytes")).has_value());
  EXPECT_EQ(*read_page_file(path("a.page")), "bytes");
  EXPECT_EQ(*read_page_file(path("a.page"), 2), "by");
  ASSERT_EQ(mkfifo(path("pipe.page").c_str(), 0600), 0);
  std::filesystem::create_symlink(path("none"), path("loose.page"));
  for (const std::string& name : {path("pipe.page"), path("loose.page"), folder_.string()}) {
    Result<std::string> read = read_page_file(name);
    ASSERT_TRUE(read.has_error()) << name;
    EXPECT_EQ(read.error().code, Errc::io_error);
    EXPECT_EQ(read.error().text.find(name), std::string::npos) << "said by who lists it";
  }
}

TEST_F(PageFileTest, BytesWithoutAPageHeaderAreDamaged) {
  auto header = read_header(as_bytes("none"));
  ASSERT_TRUE(header.has_error());
  EXPECT_EQ(header.error().code, Errc::damaged);
}

TEST(PageProblems, WhatCouldNotBeReadWeighsMoreThanDamage) {
  PageProblems problems;
  EXPECT_EQ(problems.exit_code(), 0);
  problems.add("a", SLUICE_ERR(Errc::bad_checksum, "section 1"));
  EXPECT_EQ(problems.exit_code(), 1);
  problems.add("b", SLUICE_ERR(Errc::io_error, "cannot be read"));
  problems.add("c", SLUICE_ERR(Errc::damaged, "no header"));
  EXPECT_EQ(problems.exit_code(), 4);
  EXPECT_EQ(problems.list()[0], (nlohmann::json{{"page", "a"}, {"error", "section 1"}}));
}

}  // namespace
}  // namespace sluice::cli
