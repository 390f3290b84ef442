// Digests of files, shared by all processes of a user: one small file each, replaced by rename.
// Internal to digest.cc. An entry that does not agree to the byte with what it should be is no
// entry; one that cannot be written is left out, for the cache only saves time.
#pragma once

#include <optional>
#include <string>

#include "src/base/checksum.h"
#include "src/model/file_reader.h"

namespace sluice {

class DigestCache {
 public:
  // `folder` "" keeps nothing.
  explicit DigestCache(std::string folder) : folder_(std::move(folder)) {}

  // The digest of the file at an absolute path, if it still is the one that was hashed.
  std::optional<Hash32> find(const std::string& path, const FileIdentity& identity) const;
  void store(const std::string& path, const FileIdentity& identity, const Hash32& digest) const;

 private:
  std::string entry_path(const std::string& path) const;

  std::string folder_;
};

}  // namespace sluice
