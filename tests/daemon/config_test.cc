#include "src/daemon/config.h"

#include <gtest/gtest.h>

#include <fstream>

namespace sluice::daemon {
namespace {

// As the daemon reads a file without flags.
Result<Config> read(std::string_view text) {
  SLUICE_TRY(Config config, parse_config(text, "sluice.toml"));
  SLUICE_CHECK(config.validate());
  return config;
}

TEST(Config, ReadsEveryOption) {
  Result<Config> config = read(R"(
    [listen]
    socket = "/tmp/x.sock"
    addresses = ["tcp://127.0.0.1:7440", "tcp://[::1]:7440"]
    connections_max = 7
    drain = "2s"
    [ram]
    capacity = "64MiB"
    [disk]
    path = "/var/lib/sluice"
    capacity = "10GiB"
    [admin]
    address = "127.0.0.1:9464"
    [log]
    level = "debug"
  )");
  ASSERT_TRUE(config.has_value()) << config.error().text;
  EXPECT_EQ(config->socket, "/tmp/x.sock");
  EXPECT_EQ(config->addresses,
            (std::vector<std::string>{"tcp://127.0.0.1:7440", "tcp://[::1]:7440"}));
  EXPECT_EQ(config->connections_max, 7u);
  EXPECT_EQ(config->drain_ms, 2000u);
  EXPECT_EQ(config->ram_bytes, 64ull << 20);
  EXPECT_EQ(config->disk_path, "/var/lib/sluice");
  EXPECT_EQ(config->disk_bytes, 10ull << 30);
  EXPECT_EQ(config->admin_address, "127.0.0.1:9464");
  EXPECT_EQ(config->log_level, "debug");
}

TEST(Config, EmptyFileIsTheEmbeddedDefault) {
  Result<Config> config = read("");
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ(config->ram_bytes, 1ull << 30);
  EXPECT_TRUE(config->socket.empty());
  EXPECT_TRUE(config->disk_path.empty());
  EXPECT_TRUE(config->admin_address.empty());
}

// Each text is refused with a sentence that holds the fragment beside it.
TEST(Config, RefusesWhatItDoesNotKnowAndSaysWhere) {
  const std::pair<const char*, const char*> kBad[] = {
      {"[ram]\ncapacity = \"12 bananas\"", "sluice.toml:2:12: ram.capacity: '12 bananas' is not"},
      {"[ram]\ncapacity = 5", "ram.capacity: expected a text"},
      {"[ram]\ncapacity = \"1MiB\"", "16MiB..16TiB"},
      {"[disk]\ncapacity = \"1MiB\"", "64MiB..1PiB"},
      {"[disk]\npath = \"/x\"\ncapacity = \"0\"", "64MiB..1PiB"},
      {"[disk]\ncapacity = \"1GiB\"", "disk.capacity: there is no disk tier"},
      {"[disk]\npath = \"/x\\u0000y\"", "disk.path: a path without NUL expected"},
      {"[ram]\nsize = \"1GiB\"", "ram.size: no such option; there are listen.socket"},
      {"[disk]\ndir = \"/x\"", "disk.dir: no such option"},
      {"top = 1", "sluice.toml:1:7: top: expected a table"},
      {"[listen]\nconnections_max = 0", "1..65536 connections"},
      {"[listen]\nconnections_max = -4", "0 or more"},
      {"[listen]\nconnections_max = 99999999999", "99999999999 is outside 1..65536 connections"},
      {"[listen]\ndrain = \"1h\"", "listen.drain: '1h' is not a quantity"},
      {"[listen]\ndrain = \"20min\"", "100ms..10min"},
      {"[admin]\naddress = 9464", "admin.address: expected a text"},
      {"[admin]\naddress = \"9464\"", "admin.address: '9464' is no address; expected IP:PORT"},
      {"[admin]\naddress = \"127.0.0.1:70000\"", "a port of 1..65535"},
      {"[admin]\naddress = \"0.0.0.0:9464\"", "admin.address: other machines could reach"},
      {"[log]\nlevel = \"loud\"", "none of trace, debug"},
      {"[log\n", "sluice.toml:1:"},
      {"[listen]\nsocket = \"a\\u0000b\"", "listen.socket: socket path"},
      {"[listen]\nsocket = \"tcp://127.0.0.1:1\"", "listen.socket: a path is expected"},
      {"[listen]\naddresses = \"tcp://127.0.0.1:1\"", "listen.addresses: expected a list"},
      {"[listen]\naddresses = [7440]", "listen.addresses: expected a text"},
      {"[listen]\naddresses = [\"127.0.0.1:7440\"]", "'127.0.0.1:7440' is no TCP address"},
      {"[listen]\naddresses = [\"tcp://localhost:7440\"]", "'tcp://localhost:7440' is no TCP"},
      {"[listen]\naddresses = [\"tcp://0.0.0.0:1\"]", "other machines could reach"},
      {"[listen]\ninsecure = true\naddresses = [\"tcp://[::]:1\"]", "make one with `sluice token"},
      {"[listen]\ninsecure = 1", "listen.insecure: expected true or false"},
      {"[listen]\ntoken_sha256 = \"abc\"", "a SHA-256 of 64 hex digits, got 3 characters"},
  };
  for (const auto& [text, fragment] : kBad) {
    Result<Config> config = read(text);
    ASSERT_TRUE(config.has_error()) << text;
    EXPECT_EQ(config.error().code, Errc::bad_config);
    EXPECT_NE(config.error().text.find(fragment), std::string::npos) << config.error().text;
  }
}

TEST(Config, OtherMachinesNeedATokenAndTheWordInsecure) {
  const std::string digest(64, 'a');
  const std::string token =
      "[listen]\naddresses = [\"tcp://10.0.0.5:7440\"]\ntoken_sha256 = \"" + digest + "\"\n";
  Result<Config> half = read(token);
  ASSERT_TRUE(half.has_error());
  EXPECT_NE(half.error().text.find("set listen.insecure = true"), std::string::npos)
      << half.error().text;
  Result<Config> whole = read(token + "insecure = true");
  ASSERT_TRUE(whole.has_value()) << whole.error().text;
  EXPECT_EQ(to_hex(*whole->token_sha256), digest);
}

// Somebody may write the token where its hash belongs.
TEST(Config, NoErrorRepeatsWhatMayBeTheToken) {
  const std::string secret = "Tr0ub4dor-and-three-more-words-of-it";
  Result<Config> config = read("[listen]\ntoken_sha256 = \"" + secret + "\"");
  ASSERT_TRUE(config.has_error());
  EXPECT_EQ(config.error().text.find(secret), std::string::npos) << config.error().text;
}

TEST(Config, AddressesAreBounded) {
  Config config;
  config.addresses = std::vector<std::string>(15, "tcp://127.0.0.1:7440");
  EXPECT_TRUE(config.validate().has_value());
  config.addresses.push_back("tcp://127.0.0.1:7441");
  ASSERT_TRUE(config.validate().has_error());
  EXPECT_NE(config.validate().error().text.find("there are 16, expected at most 15"),
            std::string::npos);
}

TEST(Config, RefusesTextThatWouldOverflowTheParser) {
  std::string dots;
  for (int i = 0; i < 200'000; ++i) {
    dots += "a.";
  }
  Result<Config> config = read(dots + "b = 1");
  ASSERT_TRUE(config.has_error());
  EXPECT_NE(config.error().text.find("at most 16384"), std::string::npos) << config.error().text;
}

TEST(Config, NamesAFileThatCannotBeRead) {
  const std::pair<const char*, const char*> kBad[] = {
      {"/nonexistent/sluice.toml", "/nonexistent/sluice.toml: No such file"},
      {"/", "Is a directory"},
  };
  for (const auto& [path, fragment] : kBad) {
    Result<Config> config = load_config(path);
    ASSERT_TRUE(config.has_error());
    EXPECT_EQ(config.error().code, Errc::io_error);
    EXPECT_NE(config.error().text.find(fragment), std::string::npos) << config.error().text;
  }
}

TEST(Config, AFileMayBeEmptyButNotWithoutEnd) {
  EXPECT_TRUE(load_config("/dev/null").has_value());
  Result<Config> endless = load_config("/dev/zero");
  ASSERT_TRUE(endless.has_error());
  EXPECT_EQ(endless.error().code, Errc::bad_config);
}

}  // namespace
}  // namespace sluice::daemon
