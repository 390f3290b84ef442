#include "src/cli/page_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <istream>

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = size_t{1} << 16;

// Reads to the end or to bytes_max; false where the stream failed.
bool read_all(std::istream& in, size_t bytes_max, std::string& out) {
  while (out.size() < bytes_max && in.good()) {
    const size_t at = out.size();
    const size_t step = std::min(kReadBytes, bytes_max - at);
    out.resize(at + step);
    in.read(out.data() + at, static_cast<std::streamsize>(step));
    out.resize(at + static_cast<size_t>(in.gcount()));
  }
  return !in.bad() && (in.eof() || out.size() >= bytes_max);
}

Status write_all(int fd, ByteSpan bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t put = ::write(fd, bytes.data() + at, bytes.size() - at);
    if (put < 0 && errno != EINTR) {
      return SLUICE_ERR(Errc::io_error, "{}", std::strerror(errno));
    }
    at += put > 0 ? static_cast<size_t>(put) : 0;
  }
  return {};
}

// The *.page names in a folder.
Result<std::vector<std::string>> pages_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code problem;
  for (fs::directory_iterator it(folder, problem), end; !problem && it != end;
       it.increment(problem)) {
    if (it->path().extension() == ".page") {
      out.push_back(it->path().string());
    }
  }
  if (problem) {
    return SLUICE_ERR(Errc::io_error, "cannot be listed: {}", problem.message());
  }
  if (out.empty()) {
    return SLUICE_ERR(Errc::not_found, "a folder without any *.page file; name page files");
  }
  std::sort(out.begin(), out.end());
  return out;
}

Error cannot_write(const std::string& path, std::string_view why) {
  return SLUICE_ERR(
      Errc::io_error, "cannot write {}: {}; name a folder with room that you may write", path, why);
}

}  // namespace

Result<std::string> read_file(const std::string& path, size_t bytes_max) {
  std::string out;
  if (path == "-") {
    if (!read_all(std::cin, bytes_max, out)) {
      return SLUICE_ERR(Errc::io_error, "cannot read standard input: {}", std::strerror(errno));
    }
    return out;
  }
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {  // whose stream would throw
    return SLUICE_ERR(Errc::io_error, "{} is a folder, expected a file", path);
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open() || !read_all(file, bytes_max, out)) {
    return SLUICE_ERR(Errc::io_error, "cannot read {}: {}", path, std::strerror(errno));
  }
  return out;
}

Status write_file(const std::string& path, ByteSpan bytes) {
  const std::string fresh = path + ".tmp-" + std::to_string(::getpid());
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) {
    return cannot_write(fresh, std::strerror(errno));
  }
  Status written = write_all(fd, bytes);
  if (::close(fd) != 0 && written.has_value()) {
    written = SLUICE_ERR(Errc::io_error, "{}", std::strerror(errno));
  }
  if (written.has_value() && ::rename(fresh.c_str(), path.c_str()) != 0) {
    written = SLUICE_ERR(Errc::io_error, "{}", std::strerror(errno));
  }
  if (written.has_error()) {
    ::unlink(fresh.c_str());
    return cannot_write(path, written.error().text);
  }
  return {};
}

Status make_folder(const std::string& path) {
  std::error_code problem;
  fs::create_directories(path, problem);
  if (problem || !fs::is_directory(path, problem)) {
    return cannot_write(path, problem ? problem.message() : "it is no folder");
  }
  return {};
}

std::vector<std::string> page_files(const std::vector<std::string>& paths,
                                    PageProblems& unreadable) {
  std::vector<std::string> out;
  for (const std::string& path : paths) {
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) {
      out.push_back(path);
      continue;
    }
    Result<std::vector<std::string>> found = pages_in(path);
    if (found.has_error()) {
      unreadable.add(path, found.error());
    } else {
      out.insert(out.end(), found->begin(), found->end());
    }
  }
  return out;
}

std::string profile_file_name(const Hash32& digest) {
  return to_hex(digest) + ".profile";
}

Result<std::string> read_page_file(const std::string& path, size_t bytes_max) {
  std::error_code problem;
  const fs::file_status status = fs::status(path, problem);
  if (!problem && !fs::is_regular_file(status)) {
    return SLUICE_ERR(Errc::io_error, "no regular file, expected the bytes of one page");
  }
  std::string out;
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open() || !read_all(file, bytes_max, out)) {
    return SLUICE_ERR(Errc::io_error, "cannot be read: {}", std::strerror(errno));
  }
  return out;
}

Result<codec::PageHeader> read_header(ByteSpan bytes) {
  Result<codec::PageHeader> header = codec::parse_page_header(bytes);
  if (header.has_error()) {
    return SLUICE_ERR(Errc::damaged, "{}", header.error().text);
  }
  return header;
}

}  // namespace sluice::cli
