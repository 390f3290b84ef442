// Page files: one encoded page each, named KEY.page.
#pragma once

#include <string>
#include <vector>

#include "codec/page.h"
#include "src/base/result.h"

namespace sluice::cli {

// A file's bytes, at most bytes_max of them; "-" for standard input. Errors: io_error.
Result<std::string> read_file(const std::string& path, size_t bytes_max = SIZE_MAX);

// Writes a file that is there whole or not at all: under another name first. Its owner alone may
// read it, for KV says what the prompt was. Errors: io_error.
Status write_file(const std::string& path, ByteSpan bytes);

// Makes a folder to write to, where it is missing. Errors: io_error.
Status make_folder(const std::string& path);

// The files named, and for a folder the *.page files in it, sorted. Errors: io_error, not_found (a
// folder without any).
Result<std::vector<std::string>> page_files(const std::vector<std::string>& paths);

// The header at the front of page bytes. Errors: damaged (the text begins with `name`).
Result<codec::PageHeader> read_header(const std::string& name, ByteSpan bytes);

}  // namespace sluice::cli
