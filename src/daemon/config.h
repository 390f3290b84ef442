// What an operator can set: one TOML file, or flags that override it. Defaults run an embedded
// daemon: RAM tier, unix socket, nothing open to the network. Not live state; a plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/checksum.h"
#include "src/base/result.h"

namespace sluice::daemon {

inline constexpr uint64_t kDiskBytesMin = 64ull << 20;
inline constexpr uint64_t kDiskBytesMax = 1ull << 50;

struct Config {
  // [listen]
  std::string socket;  // unix socket path; "" for the default (transport/socket_path.h)
  std::vector<std::string> addresses;  // beside the socket: tcp://IP:PORT, at most 15
  // Of the token that connections over TCP must bring; nothing: none is asked for.
  std::optional<Hash32> token_sha256;
  bool insecure = false;           // lets other machines connect although nothing is encrypted
  uint64_t connections_max = 256;  // 1..65536
  uint64_t drain_ms = 10'000;      // 100ms..10min: how long SIGTERM waits for requests in flight
  // [ram]
  uint64_t ram_bytes = 1ull << 30;  // 16MiB..16TiB
  // [disk]
  std::string disk_path;  // folder of the log; "": no disk tier
  // 64MiB..1PiB; nothing: half of what is free, with the log that is there, at most 64GiB
  std::optional<uint64_t> disk_bytes;
  // [admin]
  std::string admin_address;  // IP:PORT on loopback (admin_address.h); "": no admin pages
  // [log]
  std::string log_level = "info";  // trace, debug, info, warn, error

  // Checks every range, and that the options agree. Errors: bad_config; the text names option, unit
  // and range.
  Status validate() const;
};

// Reads a TOML file over the defaults. Unknown tables and keys are refused, so that a typing error
// never runs with a default. Not validated: flags may override it. Errors: bad_config (file, line,
// column, what is allowed), io_error.
Result<Config> load_config(const std::string& path);

// The same from text; `name` stands for the file in error texts. Errors: bad_config.
Result<Config> parse_config(std::string_view text, std::string_view name);

// Why the machine cannot hold a RAM tier of that size, and what to do; "" where it can.
// usable_bytes: what a process may use here.
std::string memory_warning(uint64_t ram_bytes, uint64_t usable_bytes);

}  // namespace sluice::daemon
