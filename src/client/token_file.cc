#include "src/client/token_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "transport/messages.h"

namespace sluice::client {
namespace {

constexpr size_t kFileBytesMax = 1024;

Error cannot_read(const std::string& path) {
  return SLUICE_ERR(
      Errc::io_error, "cannot read the token file {}: {}", path, std::strerror(errno));
}

}  // namespace

std::string find_token_file(const std::string& path) {
  const char* named = std::getenv("SLUICE_TOKEN_FILE");
  return path.empty() && named != nullptr ? named : path;
}

Result<std::string> read_token_file(const std::string& path) {
  // O_NONBLOCK: a pipe without a writer must not hang an engine.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return cannot_read(path);
  }
  std::string token(kFileBytesMax, '\0');
  const ssize_t got = ::read(fd, token.data(), token.size());
  const int error = errno;
  ::close(fd);
  if (got < 0) {
    errno = error;
    return cannot_read(path);
  }
  token.resize(static_cast<size_t>(got));
  token.erase(token.find_last_not_of(" \t\r\n") + 1);
  const bool printable =
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (!printable || token.size() < transport::kTokenBytesMin ||
      token.size() > transport::kTokenBytesMax) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "the token file {} has {} characters{}, expected {} to {} in one word; make "
                      "one with `sluice token FILE`",
                      path,
                      token.size(),
                      printable ? "" : ", not all of them printable",
                      transport::kTokenBytesMin,
                      transport::kTokenBytesMax);
  }
  return token;
}

}  // namespace sluice::client
