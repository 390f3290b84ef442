#include "src/model/digest_cache.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace sluice {
namespace {

// What an entry says before the digest.
std::string entry_head(const std::string& path, const FileIdentity& identity) {
  return fmt::format("sluice digest 1\n{}\n{} {} {} {} {}\n",
                     path,
                     identity.device,
                     identity.inode,
                     identity.bytes,
                     identity.mtime_ns,
                     identity.ctime_ns);
}

std::string entry_text(const std::string& head, const Hash32& digest) {
  std::string body = head + to_hex(digest) + "\n";
  return body + fmt::format("{:016x}\n", xxh3_64(as_bytes(body)));
}

}  // namespace

std::string DigestCache::entry_path(const std::string& path) const {
  return folder_ + "/" + to_hex(sha256(as_bytes(path)));
}

std::optional<Hash32> DigestCache::find(const std::string& path,
                                        const FileIdentity& identity) const {
  if (folder_.empty()) {
    return std::nullopt;
  }
  Result<FileReader> file = FileReader::open(entry_path(path));
  std::string head = entry_head(path, identity);
  Hash32 digest{};
  std::string text(entry_text(head, digest).size(), '\0');
  if (file.has_error() || file->identity().bytes != text.size()) {
    return std::nullopt;
  }
  if (file->read_at(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()}).has_error()) {
    return std::nullopt;
  }
  Result<Bytes> stored = from_hex(text.substr(head.size(), 2 * digest.size()));
  if (stored.has_error()) {
    return std::nullopt;
  }
  std::copy(stored->begin(), stored->end(), digest.begin());
  return text == entry_text(head, digest) ? std::optional(digest) : std::nullopt;
}

void DigestCache::store(const std::string& path,
                        const FileIdentity& identity,
                        const Hash32& digest) const {
  if (folder_.empty()) {
    return;
  }
  std::error_code failed;
  std::filesystem::create_directories(folder_, failed);
  std::string entry = entry_path(path);
  std::string fresh = fmt::format("{}.{}.new", entry, ::getpid());
  {
    std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
    out << entry_text(entry_head(path, identity), digest);
  }
  // A torn file would fail its checksum, so a failed write needs no look.
  std::filesystem::rename(fresh, entry, failed);
}

}  // namespace sluice
