// The commands of `sluice`, one function each. They print to standard output: text for people, or
// one JSON document. They return the exit code; an error becomes one too (exit_code.h).
// docs/cli.md lists the keys of the documents.
#pragma once

#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/cli/output.h"
#include "src/cli/sequence.h"

namespace sluice::cli {

// Is a daemon there, which version, how fast does it answer.
Result<int> ping(const DaemonOptions& options, const OutputOptions& output);

// The daemon's counters.
Result<int> stat(const DaemonOptions& options, const OutputOptions& output);

// Makes a file with a new token where it is missing, and prints the SHA-256 of the token in it.
Result<int> token(const std::string& file, const OutputOptions& output);

// How many tokens of a sequence the daemon can serve, and why none where it can serve none.
Result<int> lookup(const SequenceOptions& options, const OutputOptions& output);

// For each KV group of a sequence what is there, and where nothing is, the field that differs from
// the nearest space.
Result<int> explain_miss(const SequenceOptions& options, const OutputOptions& output);

// Headers of pages: of a sequence in the daemon, each once it is found whole, or of page files.
// save: folder to write the pages of a sequence to; "" for none.
Result<int> inspect(const SequenceOptions& options,
                    const std::vector<std::string>& files,
                    const std::string& save,
                    const OutputOptions& output);

// What profile files were measured on, and the KL of their levels.
Result<int> profile(const std::vector<std::string>& files, const OutputOptions& output);

// Fetches, checks and decodes the pages of a sequence, or page files.
Result<int> verify(const SequenceOptions& options,
                   const std::vector<std::string>& files,
                   const OutputOptions& output);

// Saves pages as KEY.page in a folder, each once it is found whole, the descriptors of their spaces
// as SPACE.descriptor and what they are coded with as DIGEST.profile. keys: of the descriptor's
// space; none: the sequence's.
Result<int> get(const SequenceOptions& options,
                const std::vector<std::string>& keys,
                const std::string& folder,
                const OutputOptions& output);

struct PutOptions {
  std::vector<std::string> files;  // page files, or folders of them
  std::string anchor;              // of all, hex; "": the page before each in the sequence, or none
  bool durable = false;
};

// Puts page files into the daemon, each once it is found whole, and the profiles beside them.
Result<int> put(const SequenceOptions& options,
                const PutOptions& what,
                const OutputOptions& output);

// Takes pages out of the daemon. dry_run: says how many are there and leaves them.
Result<int> remove_pages(const SequenceOptions& options,
                         const std::vector<std::string>& keys,
                         bool dry_run,
                         const OutputOptions& output);

struct SlotOptions {
  std::string file;  // the slot file to store, or to write
  bool durable = false;
  std::string like;               // a slot file of the context to write for; "": the next two
  std::string flash_attn = "on";  // or off
  uint32_t streams = 1;
};

// Stores the full pages of a llama.cpp slot file.
Result<int> llama_put(const SequenceOptions& options,
                      const SlotOptions& slot,
                      const OutputOptions& output);

// Writes the slot file of the longest prefix that the daemon has of a sequence: of the tokens
// named, or else of those of the file that it is to be like.
Result<int> llama_get(const SequenceOptions& options,
                      const SlotOptions& slot,
                      const OutputOptions& output);

}  // namespace sluice::cli
