// A regular file opened for reading at offsets, with the identity that tells whether it changed.
// Not a mapping: a mapped file that shrinks would kill the engine's process. One thread at a time.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/bytes.h"
#include "src/base/result.h"

namespace sluice {

// What stat says of a file: equal identities, equal bytes, unless someone sets clocks back.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t bytes = 0;
  uint64_t mtime_ns = 0;
  uint64_t ctime_ns = 0;

  bool operator==(const FileIdentity&) const = default;
};

class FileReader {
 public:
  // Errors: io_error (missing, unreadable, no regular file).
  static Result<FileReader> open(const std::string& path);

  ~FileReader();
  FileReader(FileReader&& other) noexcept;
  FileReader& operator=(FileReader&&) = delete;

  // As it was opened, and as it is now. Errors: io_error.
  const FileIdentity& identity() const { return identity_; }

  Result<FileIdentity> identity_now() const;

  // Fills `out` from the offset. Errors: io_error (also where the file ends before).
  Status read_at(uint64_t offset, MutByteSpan out) const;

 private:
  FileReader(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_;
  std::string path_;
  FileIdentity identity_;
};

}  // namespace sluice
