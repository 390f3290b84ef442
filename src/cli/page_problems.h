// Pages, or names of page files, that a command could not do its work on while the others went on.
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/cli/output.h"

namespace sluice::cli {

class PageProblems {
 public:
  // page: its key, or the name of its file, which the error's text leaves out.
  void add(const std::string& page, const Error& error);

  size_t size() const { return list_.size(); }

  // The list of {page, error} of a document.
  const nlohmann::json& list() const { return list_; }

  // One line each.
  void print() const;

  // 0 without any; 4 where one could not be read, for that says nothing of the page; else 1.
  int exit_code() const { return exit_code_; }

 private:
  nlohmann::json list_ = nlohmann::json::array();
  int exit_code_ = 0;
};

}  // namespace sluice::cli
