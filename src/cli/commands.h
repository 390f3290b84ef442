// The commands of `sluice`, one function each. They print to standard output: text for people, or
// one JSON document where `json` is set. Exit codes: 0 done, 1 the answer is no (damaged, missing),
// 2 an error, whose sentence goes to standard error (sluice_main.cc).
#pragma once

#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/cli/sequence.h"

namespace sluice::cli {

// Is a daemon there, which version, how fast does it answer.
Result<int> ping(const DaemonOptions& options, bool json);

// The daemon's counters.
Result<int> stat(const DaemonOptions& options, bool json);

// How many tokens of a sequence the daemon can serve, and why none where it can serve none.
Result<int> lookup(const SequenceOptions& options, bool json);

// Headers of pages: of a sequence in the daemon, or of page files. save: folder to write the pages
// of a sequence to; "" for none.
Result<int> inspect(const SequenceOptions& options,
                    const std::vector<std::string>& files,
                    const std::string& save,
                    bool json);

// Fetches, checks and decodes the pages of a sequence, or page files; 1 if any is damaged.
Result<int> verify(const SequenceOptions& options,
                   const std::vector<std::string>& files,
                   bool json);

}  // namespace sluice::cli
