// Page files: one encoded page each, named KEY.page.
#pragma once

#include <string>
#include <vector>

#include "codec/page.h"
#include "src/base/limits.h"
#include "src/base/result.h"
#include "src/cli/page_problems.h"

namespace sluice::cli {

// A file's bytes, at most bytes_max of them; "-" for standard input. Errors: io_error.
Result<std::string> read_file(const std::string& path, size_t bytes_max = SIZE_MAX);

// Writes a file that is there whole or not at all: under another name first. Its owner alone may
// read it, for KV says what the prompt was. Errors: io_error.
Status write_file(const std::string& path, ByteSpan bytes);

// Makes a folder to write to, where it is missing. Errors: io_error.
Status make_folder(const std::string& path);

// The files named, and for a folder what it calls *.page, sorted. unreadable: takes the folders
// that cannot be listed, or have none.
std::vector<std::string> page_files(const std::vector<std::string>& paths,
                                    PageProblems& unreadable);

// At most bytes_max bytes of a page file. Errors: io_error (not read, or no regular file: opening a
// pipe would wait for somebody who writes). The text leaves out the path, as PageProblems want it.
Result<std::string> read_page_file(const std::string& path, size_t bytes_max = kPageBytesMax + 1);

// What the file of a profile is called beside the pages that are coded with it.
std::string profile_file_name(const Hash32& digest);

// The header at the front of page bytes. Errors: damaged.
Result<codec::PageHeader> read_header(ByteSpan bytes);

}  // namespace sluice::cli
