// What a GET and a PUT of pages cost beside the socket they travel on, two processes, one
// connection.
//
//   transport_bench [--pages N] [--rounds N] [--address tcp://127.0.0.1:PORT] [--json FILE]
//
// Over a unix socket, or over TCP at a port that is free; the raw loop is a unix socket's anyhow.
// Pages of 64 tokens, 30 layers, 3 heads of 64, f16, `direct` (1.2 MB), in an arena larger than the
// CPU's caches. In each round, one after the other: memcpy of the arena, a raw unix-socket loop
// that sends the same bytes from the same memory in messages of 1 MiB, GET of every page with the
// daemon's checks and the client's, and PUT of every page. Medians over the rounds.
#include <spdlog/sinks/null_sink.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/support/stored_pages.h"
#include "codec/codec.h"
#include "src/base/clock.h"
#include "src/cache/page_cache.h"
#include "src/daemon/service.h"
#include "src/model/chain.h"
#include "transport/requester.h"
#include "transport/socket_stream.h"
#include "transport/stream_server.h"

namespace sluice {
namespace {

using namespace bench;

constexpr uint64_t kCallNs = 60'000'000'000;

struct Options {
  uint32_t pages = 256;
  uint32_t rounds = 25;
  std::string address;
  std::string json;
};

// Receives each page into one buffer and checks all of it.
class CheckingSink final : public transport::PageSink {
 public:
  CheckingSink(const std::vector<StoredPage>& pages, Bytes& buffer)
      : pages_(pages), buffer_(buffer) {}

  MutByteSpan page_begins(const transport::PageMeta& meta) override {
    return MutByteSpan(buffer_).first(meta.page_bytes());
  }

  void page_ends(const transport::PageMeta& meta) override {
    auto header = codec::verify_page(ByteSpan(buffer_).first(meta.page_bytes()));
    SLUICE_ASSERT(header.has_value() && header->page_key == pages_[meta.page_index].key);
    ++whole;
  }

  void page_missing(const transport::PageMeta&) override {}

  size_t whole = 0;

 private:
  const std::vector<StoredPage>& pages_;
  Bytes& buffer_;
};

// The daemon in a process of its own, as sluiced wires it.
[[noreturn]] void serve(const std::string& path, uint64_t ram_bytes) {
  SteadyClock clock;
  spdlog::logger log("bench", std::make_shared<spdlog::sinks::null_sink_st>());
  cache::PageCacheConfig config;
  config.ram.capacity_bytes = ram_bytes;
  auto cache = *cache::PageCache::open(std::move(config));
  daemon::Service service(*cache, log);
  transport::StreamServerConfig server_config;
  server_config.addresses = {path};
  auto server = *transport::StreamServer::open(server_config, service, clock);
  SLUICE_ASSERT(server->run().has_value());
  _exit(0);
}

class Connection {
 public:
  explicit Connection(const std::string& path) {
    auto stream = transport::connect_socket(path, deadline().deadline_ns);
    for (int tries = 0; stream.has_error() && tries < 500; ++tries) {
      usleep(10'000);
      stream = transport::connect_socket(path, deadline().deadline_ns);
    }
    requester_ = std::make_unique<transport::Requester>(*std::move(stream), clock_);
    transport::HelloRequest hello;
    hello.self_test = chain_self_test();
    hello.software = "transport_bench";
    SLUICE_ASSERT(requester_->hello(hello, deadline()).has_value());
    handle_ = requester_->open({.descriptor = *encode_descriptor(sample_descriptor())}, deadline())
                  ->handle;
  }

  void put(const std::vector<StoredPage>& pages) {
    Hash32 anchor = kRootKey;
    for (const StoredPage& page : pages) {
      transport::PutRequest request;
      request.handle = handle_;
      request.key = page.key;
      request.anchor = anchor;
      request.page_bytes = page.bytes.size();
      const ByteSpan bytes(page.bytes);
      auto reply = requester_->put(request, {&bytes, 1}, deadline());
      SLUICE_ASSERT(reply.has_value() && reply->outcome == transport::PutOutcome::stored);
      anchor = page.key;
    }
  }

  void get(const std::vector<StoredPage>& pages, Bytes& buffer) {
    transport::GetRequest request;
    request.handle = handle_;
    for (const StoredPage& page : pages) {
      request.pages.push_back({.key = page.key});
    }
    CheckingSink sink(pages, buffer);
    SLUICE_ASSERT(requester_->get(request, sink, deadline()).has_value());
    SLUICE_ASSERT(sink.whole == pages.size());
  }

  void erase(const std::vector<StoredPage>& pages) {
    transport::DeleteRequest request{.handle = handle_};
    for (const StoredPage& page : pages) {
      request.keys.push_back(page.key);
    }
    SLUICE_ASSERT(requester_->erase(request, deadline()).has_value());
  }

 private:
  transport::CallOptions deadline() const { return {.deadline_ns = clock_.now_ns() + kCallNs}; }

  SteadyClock clock_;
  std::unique_ptr<transport::Requester> requester_;
  uint32_t handle_ = 0;
};

int run(const Options& options) {
  const Hash32 space = space_id(*encode_descriptor(sample_descriptor()));
  const std::vector<StoredPage> pages = make_pages(space, options.pages);
  const uint64_t bytes = total_bytes(pages);
  std::string folder = (std::filesystem::temp_directory_path() / "sluice-bench-XXXXXX").string();
  SLUICE_ASSERT(mkdtemp(folder.data()) != nullptr);
  const std::string path = options.address.empty() ? folder + "/s.sock" : options.address;
  const pid_t daemon = fork();
  if (daemon == 0) {
    serve(path, (bytes / 64 + 1) * 64 * 2);
  }
  Connection connection(path);
  Bytes buffer = page_buffer(pages);
  std::vector<double> copy;
  std::vector<double> raw;
  std::vector<double> get;
  std::vector<double> put;
  std::vector<double> ratio;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    connection.erase(pages);
    put.push_back(gib_per_second(bytes, time_ns([&] { connection.put(pages); })));
    copy.push_back(gib_per_second(bytes, time_ns([&] { copy_all(pages, buffer); })));
    raw.push_back(gib_per_second(bytes, time_ns([&] { raw_loop(pages, buffer); })));
    get.push_back(gib_per_second(bytes, time_ns([&] { connection.get(pages, buffer); })));
    ratio.push_back(get.back() / raw.back());
  }
  kill(daemon, SIGKILL);
  waitpid(daemon, nullptr, 0);
  std::filesystem::remove_all(folder);
  const nlohmann::json result = {{"pages", pages.size()},
                                 {"page_bytes", bytes / pages.size()},
                                 {"rounds", options.rounds},
                                 {"memcpy_gib_s", median(copy)},
                                 {"raw_unix_gib_s", median(raw)},
                                 {"get_gib_s", median(get)},
                                 {"put_gib_s", median(put)},
                                 {"get_to_raw", median(ratio)},
                                 {"get_to_raw_min", *std::min_element(ratio.begin(), ratio.end())},
                                 {"get_to_raw_max", *std::max_element(ratio.begin(), ratio.end())}};
  std::printf(
      "memcpy          %6.2f GiB/s\nraw unix socket %6.2f GiB/s\n"
      "GET, checked    %6.2f GiB/s\nPUT, checked    %6.2f GiB/s\n"
      "GET to raw      %6.2f (median of %u rounds, %zu pages of %zu bytes)\n",
      median(copy),
      median(raw),
      median(get),
      median(put),
      median(ratio),
      options.rounds,
      pages.size(),
      static_cast<size_t>(bytes / pages.size()));
  if (!options.json.empty()) {
    std::ofstream(options.json) << result.dump(2) << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  sluice::Options options;
  CLI::App app("transport_bench: GET and PUT of pages beside a raw socket", "transport_bench");
  app.add_option("--pages", options.pages, "pages in the arena")->check(CLI::Range(1, 10000));
  app.add_option("--rounds", options.rounds, "rounds")->check(CLI::Range(1, 1000));
  app.add_option("--address", options.address, "of the daemon; default: a unix socket");
  app.add_option("--json", options.json, "file to write the medians to");
  CLI11_PARSE(app, argc, argv);
  return sluice::run(options);
}
