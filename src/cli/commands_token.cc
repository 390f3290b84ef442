// token: the secret between clients and daemons over TCP.
#include <fmt/core.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "src/base/checksum.h"
#include "src/cli/commands.h"
#include "src/cli/page_file.h"
#include "src/client/token_file.h"

namespace sluice::cli {
namespace {

Status make_token_file(const std::string& path) {
  std::array<uint8_t, 32> secret{};
  if (getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size())) {
    return SLUICE_ERR(Errc::io_error, "no random bytes: {}", std::strerror(errno));
  }
  return write_file(path, as_bytes(to_hex(secret) + "\n"));
}

}  // namespace

Result<int> token(const std::string& file, const OutputOptions& output) {
  struct stat info {};

  const bool made = ::stat(file.c_str(), &info) != 0 && errno == ENOENT;
  if (made) {
    SLUICE_CHECK(make_token_file(file));
  }
  SLUICE_TRY(const std::string secret, client::read_token_file(file));
  const std::string digest = to_hex(sha256(as_bytes(secret)));
  if (output.json) {
    print_document({{"file", file}, {"made", made}, {"token_sha256", digest}});
  } else {
    fmt::print("token_sha256 = \"{}\"\n", digest);
  }
  return 0;
}

}  // namespace sluice::cli
