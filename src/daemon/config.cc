#include "src/daemon/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include "src/base/units.h"
#include "src/daemon/admin_address.h"
#include "store/ram_tier.h"
#include "transport/socket_address.h"
#include "transport/stream_server.h"

namespace sluice::daemon {
namespace {

constexpr size_t kConfigBytesMax = 16 << 10;
constexpr size_t kTcpAddressesMax = transport::kAddressesMax - 1;  // and the socket

constexpr auto kLogLevels =
    std::to_array<std::string_view>({"trace", "debug", "info", "warn", "error"});

// One option of the file: where it stands and how its value is taken over.
struct Option {
  std::string_view table;
  std::string_view key;
  Status (*assign)(const toml::node& value, Config& config);
};

Result<std::string> text_of(const toml::node& value) {
  if (const auto* text = value.as_string()) {
    return text->get();
  }
  return SLUICE_ERR(Errc::bad_config, "expected a text in quotes");
}

Result<uint64_t> number_of(const toml::node& value) {
  const auto* number = value.as_integer();
  if (number == nullptr || number->get() < 0) {
    return SLUICE_ERR(Errc::bad_config, "expected a whole number, 0 or more");
  }
  return static_cast<uint64_t>(number->get());
}

Result<std::vector<std::string>> texts_of(const toml::node& value) {
  const toml::array* array = value.as_array();
  if (array == nullptr) {
    return SLUICE_ERR(Errc::bad_config, "expected a list of texts");
  }
  std::vector<std::string> out;
  for (const toml::node& element : *array) {
    SLUICE_TRY(std::string text, text_of(element));
    out.push_back(std::move(text));
  }
  return out;
}

Result<bool> flag_of(const toml::node& value) {
  if (const auto* flag = value.as_boolean()) {
    return flag->get();
  }
  return SLUICE_ERR(Errc::bad_config, "expected true or false, without quotes");
}

// The text is not repeated: somebody may have put the token itself there.
Result<Hash32> digest_of(const toml::node& value) {
  SLUICE_TRY(std::string text, text_of(value));
  Result<Bytes> bytes = from_hex(text);
  Hash32 digest{};
  if (bytes.has_error() || bytes->size() != digest.size()) {
    return SLUICE_ERR(Errc::bad_config,
                      "expected a SHA-256 of 64 hex digits, got {} characters; `sluice token FILE` "
                      "prints it",
                      text.size());
  }
  std::copy(bytes->begin(), bytes->end(), digest.begin());
  return digest;
}

Status assign_quantity(const toml::node& value,
                       Result<uint64_t> (*parse)(std::string_view),
                       uint64_t& out) {
  SLUICE_TRY(std::string text, text_of(value));
  SLUICE_TRY(out, parse(text));
  return {};
}

constexpr auto kOptions = std::to_array<Option>({
    {"listen",
     "socket",
     [](const toml::node& value, Config& config) -> Status {
       SLUICE_TRY(config.socket, text_of(value));
       return {};
     }},
    {"listen",
     "addresses",
     [](const toml::node& value, Config& config) -> Status {
       SLUICE_TRY(config.addresses, texts_of(value));
       return {};
     }},
    {"listen",
     "token_sha256",
     [](const toml::node& value, Config& config) -> Status {
       SLUICE_TRY(config.token_sha256, digest_of(value));
       return {};
     }},
    {"listen",
     "insecure",
     [](const toml::node& value, Config& config) -> Status {
       SLUICE_TRY(config.insecure, flag_of(value));
       return {};
     }},
    {"listen",
     "connections_max",
     [](const toml::node& value, Config& config) -> Status {
       SLUICE_TRY(config.connections_max, number_of(value));
       return {};
     }},
    {"listen",
     "drain",
     [](const toml::node& value, Config& config) {
       return assign_quantity(value, parse_milliseconds, config.drain_ms);
     }},
    {"ram",
     "capacity",
     [](const toml::node& value, Config& config) {
       return assign_quantity(value, parse_bytes, config.ram_bytes);
     }},
    {"disk",
     "path",
     [](const toml::node& value, Config& config) -> Status {
       SLUICE_TRY(config.disk_path, text_of(value));
       return {};
     }},
    {"disk",
     "capacity",
     [](const toml::node& value, Config& config) {
       return assign_quantity(value, parse_bytes, config.disk_bytes.emplace());
     }},
    {"admin",
     "address",
     [](const toml::node& value, Config& config) -> Status {
       SLUICE_TRY(config.admin_address, text_of(value));
       return {};
     }},
    {"log",
     "level",
     [](const toml::node& value, Config& config) -> Status {
       SLUICE_TRY(config.log_level, text_of(value));
       return {};
     }},
});

std::string option_names() {
  std::string out;
  for (const Option& option : kOptions) {
    out += fmt::format("{}{}.{}", out.empty() ? "" : ", ", option.table, option.key);
  }
  return out;
}

Status assign(std::string_view table, std::string_view key, const toml::node& value, Config& out) {
  for (const Option& option : kOptions) {
    if (option.table == table && option.key == key) {
      return option.assign(value, out);
    }
  }
  return SLUICE_ERR(Errc::bad_config, "no such option; there are {}", option_names());
}

Error at(const toml::node& value,
         std::string_view name,
         std::string_view option,
         const Error& why) {
  return SLUICE_ERR(Errc::bad_config,
                    "{}:{}:{}: {}: {}",
                    name,
                    value.source().begin.line,
                    value.source().begin.column,
                    option,
                    why.text);
}

template <class Number>
Status in_range(std::string_view option, Number value, Number low, Number high, const char* range) {
  if (value < low || value > high) {
    return SLUICE_ERR(Errc::bad_config, "{}: {} is outside {}", option, value, range);
  }
  return {};
}

Status check_admin_address(std::string_view text) {
  const Result<AdminAddress> address = parse_admin_address(text);
  if (address.has_error()) {
    return SLUICE_ERR(Errc::bad_config, "admin.address: {}", address.error().text);
  }
  return {};
}

// Only TCP: of a text without tcp:// it is not clear what was meant.
Status check_tcp_address(const Config& config, const std::string& text) {
  auto address = transport::SocketAddress::parse(text);
  if (address.has_error() || !address->is_tcp()) {
    return SLUICE_ERR(Errc::bad_config,
                      "listen.addresses: '{}' is no TCP address; expected tcp://IP:PORT as in "
                      "tcp://127.0.0.1:7440 or tcp://[::1]:7440",
                      text);
  }
  if (!address->is_local() && !config.token_sha256) {
    return SLUICE_ERR(Errc::bad_config,
                      "listen.addresses: other machines could reach {} without a token; make one "
                      "with `sluice token FILE` and set listen.token_sha256, or use 127.0.0.1 or "
                      "[::1]",
                      text);
  }
  if (!address->is_local() && !config.insecure) {
    return SLUICE_ERR(Errc::bad_config,
                      "listen.addresses: token and KV would cross the network to {} unencrypted; "
                      "set listen.insecure = true where that network is trusted, or use 127.0.0.1 "
                      "or [::1] behind a tunnel",
                      text);
  }
  return {};
}

Status check_listen(const Config& config) {
  if (!config.socket.empty()) {
    auto socket = transport::SocketAddress::parse(config.socket);
    if (socket.has_error() || socket->is_tcp()) {
      return SLUICE_ERR(Errc::bad_config,
                        "listen.socket: {}",
                        socket.has_error() ? socket.error().text
                                           : "a path is expected; tcp:// goes to listen.addresses "
                                             "(--listen)");
    }
  }
  if (config.addresses.size() > kTcpAddressesMax) {
    return SLUICE_ERR(Errc::bad_config,
                      "listen.addresses: there are {}, expected at most {}",
                      config.addresses.size(),
                      kTcpAddressesMax);
  }
  for (const std::string& text : config.addresses) {
    SLUICE_CHECK(check_tcp_address(config, text));
  }
  return {};
}

}  // namespace

Status Config::validate() const {
  SLUICE_CHECK(check_listen(*this));
  SLUICE_CHECK(in_range<uint64_t>(
      "listen.connections_max", connections_max, 1, 65536, "1..65536 connections"));
  SLUICE_CHECK(
      in_range<uint64_t>("listen.drain (milliseconds)", drain_ms, 100, 600'000, "100ms..10min"));
  SLUICE_CHECK(in_range<uint64_t>(
      "ram.capacity (bytes)", ram_bytes, 16ull << 20, store::kRamCapacityBytesMax, "16MiB..16TiB"));
  if (disk_bytes) {
    SLUICE_CHECK(in_range<uint64_t>(
        "disk.capacity (bytes)", *disk_bytes, kDiskBytesMin, kDiskBytesMax, "64MiB..1PiB"));
    if (disk_path.empty()) {
      return SLUICE_ERR(Errc::bad_config,
                        "disk.capacity: there is no disk tier to have it; name its folder with "
                        "disk.path, or leave the capacity out");
    }
  }
  if (disk_path.find('\0') != std::string::npos) {
    return SLUICE_ERR(Errc::bad_config, "disk.path: a path without NUL expected");
  }
  if (!admin_address.empty()) {
    SLUICE_CHECK(check_admin_address(admin_address));
  }
  if (std::find(kLogLevels.begin(), kLogLevels.end(), log_level) == kLogLevels.end()) {
    return SLUICE_ERR(
        Errc::bad_config, "log.level: '{}' is none of {}", log_level, fmt::join(kLogLevels, ", "));
  }
  return {};
}

std::string memory_warning(uint64_t ram_bytes, uint64_t usable_bytes) {
  if (ram_bytes < usable_bytes) {
    return "";
  }
  return fmt::format(
      "ram.capacity of {}, expected less than the {} of memory that a process may use here: the "
      "kernel ends sluiced before the tier is full; lower --ram or ram.capacity",
      format_bytes(ram_bytes),
      format_bytes(usable_bytes));
}

Result<Config> parse_config(std::string_view text, std::string_view name) {
  Config config;
  if (text.size() > kConfigBytesMax) {  // keys of 200,000 dots overflow the parser's stack
    return SLUICE_ERR(
        Errc::bad_config, "{}: a configuration has at most {} bytes", name, kConfigBytesMax);
  }
  toml::table root;
  try {
    root = toml::parse(text, name);
  } catch (const toml::parse_error& problem) {
    return SLUICE_ERR(Errc::bad_config,
                      "{}:{}:{}: {}",
                      name,
                      problem.source().begin.line,
                      problem.source().begin.column,
                      problem.description());
  }
  for (const auto& [table, node] : root) {
    const toml::table* options = node.as_table();
    if (options == nullptr) {
      return at(node, name, table.str(), SLUICE_ERR(Errc::bad_config, "expected a table"));
    }
    for (const auto& [key, value] : *options) {
      Status done = assign(table.str(), key.str(), value, config);
      if (done.has_error()) {
        return at(value, name, fmt::format("{}.{}", table.str(), key.str()), done.error());
      }
    }
  }
  return config;
}

Result<Config> load_config(const std::string& path) {
  std::string text(kConfigBytesMax + 1, '\0');  // a device may have no end
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad()) {
    return SLUICE_ERR(
        Errc::io_error, "cannot read the config file {}: {}", path, std::strerror(errno));
  }
  text.resize(static_cast<size_t>(file.gcount()));
  return parse_config(text, path);
}

}  // namespace sluice::daemon
