// The file that holds the token for daemons over TCP: one line of printable ASCII. The token itself
// stands in no argument list, no log and no error's text.
#pragma once

#include <string>

#include "src/base/result.h"

namespace sluice::client {

// `path`, or else $SLUICE_TOKEN_FILE; "" where neither is set.
std::string find_token_file(const std::string& path);

// The token in a file, without white space behind it. Errors: io_error (names path and reason),
// invalid_argument (it has not 32 to 128 printable characters).
Result<std::string> read_token_file(const std::string& path);

}  // namespace sluice::client
