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
  auto found = page_files({"named", folder_});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(*found, (std::vector<std::string>{"named", path("a.page"), path("b.page")}));
  ASSERT_EQ(mkfifo(path("pipe.page").c_str(), 0600), 0);
  EXPECT_EQ(page_files({folder_})->size(), 2u) << "a pipe would wait for somebody who writes";
  std::filesystem::create_directory(path("empty"));
  EXPECT_EQ(page_files({path("empty")}).error().code, Errc::not_found);
}

TEST_F(PageFileTest, BytesWithoutAPageHeaderAreDamaged) {
  auto header = read_header("some.page", as_bytes("none"));
  ASSERT_TRUE(header.has_error());
  EXPECT_EQ(header.error().code, Errc::damaged);
  EXPECT_EQ(header.error().text.rfind("some.page: ", 0), 0u) << header.error().text;
}

}  // namespace
}  // namespace sluice::cli
