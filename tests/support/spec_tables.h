// Tables of the specifications in Markdown, for the tests that compare them with the code.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "src/base/field.h"

namespace sluice::testing {

using Cells = std::vector<std::string>;

inline std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// The cells of a line that begins with a bar.
inline Cells cells_of(const std::string& line) {
  Cells cells;
  std::istringstream text(line.substr(1));
  for (std::string cell; std::getline(text, cell, '|');) {
    cells.push_back(trimmed(cell));
  }
  return cells;
}

// A document, named from the root of the sources.
class Spec {
 public:
  explicit Spec(const std::string& path) {
    std::ifstream file(SLUICE_SOURCE_DIR "/" + path);
    EXPECT_TRUE(file.is_open()) << path;
    text_.assign(std::istreambuf_iterator<char>(file), {});
  }

  const std::string& text() const { return text_; }

  // The lines under a heading, down to the next heading.
  std::vector<std::string> lines_under(const std::string& heading) const {
    std::istringstream text(text_);
    std::vector<std::string> lines;
    bool inside = false;
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("#")) {
        inside = line == heading;
      } else if (inside) {
        lines.push_back(line);
      }
    }
    EXPECT_FALSE(lines.empty()) << heading;
    return lines;
  }

  // The rows of the table under a heading, without its head.
  std::vector<Cells> table_under(const std::string& heading) const {
    std::vector<Cells> rows;
    for (const std::string& line : lines_under(heading)) {
      if (line.starts_with("| ")) {
        rows.push_back(cells_of(line));
      }
    }
    if (!rows.empty()) {
      rows.erase(rows.begin());
    }
    return rows;
  }

  // That a table lists exactly these fields, without a gap, `bytes` long together.
  template <size_t N>
  void expect_fields(const std::string& heading,
                     const std::array<Field, N>& fields,
                     size_t bytes) const {
    std::vector<Cells> rows = table_under(heading);
    ASSERT_EQ(rows.size(), N) << heading;
    size_t at = 0;
    for (size_t i = 0; i < N; ++i) {
      EXPECT_EQ(rows[i][0], std::to_string(fields[i].at)) << rows[i][2];
      EXPECT_EQ(rows[i][1], std::to_string(fields[i].bytes)) << rows[i][2];
      EXPECT_EQ(rows[i][2], fields[i].name);
      EXPECT_EQ(fields[i].at, at) << "a gap before " << fields[i].name;
      at += fields[i].bytes;
    }
    EXPECT_EQ(at, bytes) << heading;
  }

 private:
  std::string text_;
};

}  // namespace sluice::testing
