// Clients that put and get pages through a real sluiced, all at once, beside what this machine can
// do at most: memcpy, a raw unix socket, its disk.
//
//   load_bench --sluiced FILE --folder DIR [--clients N,...] [--pages N] [--rounds N] [--json FILE]
//
// Each client is a thread with a connection and pages of its own; pages are encoded before (1.2 MB
// each) and every byte is checked, by the daemon as it takes them and by the client as it gets
// them. For each number of clients, in each round: `put` to RAM, `get` in random order,
// `put_durable` (no crash loses it), and once at the end `get_disk`, each page for the first time
// after the daemon was started again. GiB a second are of all clients together, from the first
// request to the last answer; the time of a PUT runs from its first byte sent, of up to eight under
// way, to its answer.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/load/daemon_process.h"
#include "bench/support/stored_pages.h"
#include "codec/codec.h"
#include "src/base/limits.h"
#include "src/base/prng.h"
#include "src/base/version.h"
#include "src/client/put_window.h"
#include "src/client/space.h"
#include "src/model/chain.h"

namespace sluice::bench {
namespace {

struct Options {
  std::string sluiced;
  std::string folder;
  std::vector<uint32_t> clients = {1, 4};
  uint32_t pages = 64;
  uint32_t rounds = 5;
  std::string json;
};

using Times = std::vector<double>;  // microseconds

// A connection with pages of its own.
class LoadClient {
 public:
  LoadClient(const std::string& socket, const std::vector<StoredPage>& pages)
      : pages_(pages),
        client_(*client::Client::open({.address = socket, .deadline_ms = 60'000})),
        space_(*client::Space::open(*client_, *encode_descriptor(sample_descriptor()))) {}

  Times put(transport::Ack ack) {
    std::vector<uint64_t> sent_ns(pages_.size());
    Times out;
    client::PutWindow window(
        *space_, ack, [&](const client::SentPage& page, const Result<bool>& taken) -> Status {
          out.push_back(microseconds_since(sent_ns[page.index]));
          SLUICE_CHECK(taken);
          SLUICE_ASSERT(*taken);
          return {};
        });
    for (size_t i = 0; i < pages_.size(); ++i) {
      sent_ns[i] = clock_.now_ns();
      const Hash32& anchor = i == 0 ? kRootKey : pages_[i - 1].key;
      expect(window.send(i, pages_[i].key, anchor, pages_[i].bytes));
    }
    expect(window.finish());
    return out;
  }

  Times get(uint64_t seed) {
    Prng prng(seed);
    std::vector<size_t> order(pages_.size());
    for (size_t i = 0; i < order.size(); ++i) {
      const size_t other = prng.below(i + 1);
      order[i] = order[other];
      order[other] = i;
    }
    Times out;
    for (const size_t i : order) {
      const uint64_t start = clock_.now_ns();
      Result<client::EncodedPage> page = space_->get_encoded(pages_[i].key, kKlUnknown);
      expect(page);
      Result<codec::PageHeader> header = codec::verify_page(page->bytes);
      SLUICE_ASSERT(header.has_value() && header->page_key == pages_[i].key);
      out.push_back(microseconds_since(start));
    }
    return out;
  }

  void erase() {
    std::vector<Hash32> keys;
    for (const StoredPage& page : pages_) {
      keys.push_back(page.key);
    }
    expect(space_->erase(keys));
  }

 private:
  double microseconds_since(uint64_t ns) const {
    return static_cast<double>(clock_.now_ns() - ns) * 1e-3;
  }

  template <class T>
  static void expect(const Result<T>& result) {
    if (result.has_error()) {
      std::fprintf(stderr, "load_bench: %s\n", result.error().to_string().c_str());
      std::exit(1);
    }
  }

  const std::vector<StoredPage>& pages_;
  SteadyClock clock_;
  std::unique_ptr<client::Client> client_;
  std::unique_ptr<client::Space> space_;
};

// What one phase did with so many clients.
struct Row {
  std::string phase;
  uint32_t clients = 0;
  std::vector<double> gib_s;  // of each round
  Times times;
};

double at(const Times& sorted, double share) {
  const auto last = static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<size_t>(share * last + 0.5)];
}

nlohmann::json spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {{"median", median(values)}, {"min", values.front()}, {"max", values.back()}};
}

nlohmann::json describe(Row row) {
  std::sort(row.times.begin(), row.times.end());
  return {{"phase", row.phase},
          {"clients", row.clients},
          {"gib_s", spread(row.gib_s)},
          {"p50_us", at(row.times, 0.5)},
          {"p99_us", at(row.times, 0.99)},
          {"max_us", row.times.back()}};
}

using Clients = std::vector<std::unique_ptr<LoadClient>>;

// All clients do it at once.
template <class Work>
void run_phase(Clients& clients, uint64_t bytes, Row& row, Work&& work) {
  std::vector<Times> times(clients.size());
  std::vector<std::thread> threads;
  row.gib_s.push_back(gib_per_second(bytes * clients.size(), time_ns([&] {
                                       for (size_t i = 0; i < clients.size(); ++i) {
                                         threads.emplace_back(
                                             [&, i] { times[i] = work(*clients[i], i); });
                                       }
                                       for (std::thread& thread : threads) {
                                         thread.join();
                                       }
                                     })));
  for (const Times& one : times) {
    row.times.insert(row.times.end(), one.begin(), one.end());
  }
}

class LoadBench {
 public:
  explicit LoadBench(const Options& options)
      : options_(options),
        most_(*std::max_element(options.clients.begin(), options.clients.end())) {
    const Hash32 space = space_id(*encode_descriptor(sample_descriptor()));
    for (uint32_t i = 0; i < most_; ++i) {
      pages_.push_back(make_pages(space, options.pages, i + 1));
    }
    bytes_ = total_bytes(pages_.front());
  }

  Status run() {
    std::filesystem::create_directories(options_.folder);
    SLUICE_CHECK(measure_ceilings());
    // Room for all pages of a round twice over: what is measured is no eviction.
    const uint64_t tier_bytes = std::max<uint64_t>(4 * most_ * bytes_, 256ull << 20) / 64 * 64;
    for (const uint32_t count : options_.clients) {
      DaemonProcess daemon(options_.sluiced, options_.folder, tier_bytes);
      SLUICE_CHECK(daemon.start());
      measure(daemon, count);
      daemon.stop();
      SLUICE_CHECK(daemon.start());
      Clients clients = connect(daemon, count);
      Row& row = rows_.emplace_back(Row{.phase = "get_disk", .clients = count});
      run_phase(clients, bytes_, row, [](LoadClient& one, size_t i) { return one.get(i); });
    }
    return {};
  }

  nlohmann::json document() const {
    nlohmann::json rows = nlohmann::json::array();
    for (const Row& row : rows_) {
      rows.push_back(describe(row));
    }
    return {{"version", kVersion},
            {"machine", {{"cpu", cpu_name()}, {"cores", std::thread::hardware_concurrency()}}},
            {"pages_a_client", options_.pages},
            {"page_bytes", bytes_ / options_.pages},
            {"rounds", options_.rounds},
            {"ceilings", ceilings_},
            {"rows", rows}};
  }

 private:
  static std::string cpu_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("model name")) {
        return line.substr(line.find(": ") + 2);
      }
    }
    return "unknown";
  }

  Status measure_ceilings() {
    const std::vector<StoredPage>& pages = pages_.front();
    Bytes buffer = page_buffer(pages);
    std::vector<double> copy;
    std::vector<double> raw;
    std::vector<double> disk;
    for (uint32_t round = 0; round < options_.rounds; ++round) {
      copy.push_back(gib_per_second(bytes_, time_ns([&] { copy_all(pages, buffer); })));
      raw.push_back(gib_per_second(bytes_, time_ns([&] { raw_loop(pages, buffer); })));
      Status written;
      disk.push_back(
          gib_per_second(bytes_, time_ns([&] { written = write_loop(pages, options_.folder); })));
      SLUICE_CHECK(written);
    }
    ceilings_ = {{"memcpy_gib_s", spread(copy)},
                 {"raw_unix_gib_s", spread(raw)},
                 {"disk_write_gib_s", spread(disk)}};
    return {};
  }

  Clients connect(const DaemonProcess& daemon, uint32_t count) const {
    Clients out;
    for (uint32_t i = 0; i < count; ++i) {
      out.push_back(std::make_unique<LoadClient>(daemon.socket(), pages_[i]));
    }
    return out;
  }

  void measure(const DaemonProcess& daemon, uint32_t count) {
    Clients clients = connect(daemon, count);
    Row put{.phase = "put", .clients = count};
    Row get{.phase = "get", .clients = count};
    Row durable{.phase = "put_durable", .clients = count};
    const auto erase = [&] {
      for (const auto& client : clients) {
        client->erase();
      }
    };
    for (uint32_t round = 0; round < options_.rounds; ++round) {
      run_phase(clients, bytes_, put, [](LoadClient& one, size_t) {
        return one.put(transport::Ack::ram);
      });
      run_phase(clients, bytes_, get, [&](LoadClient& one, size_t i) {
        return one.get(round * 1000 + i);
      });
      erase();
      run_phase(clients, bytes_, durable, [](LoadClient& one, size_t) {
        return one.put(transport::Ack::disk);
      });
      if (round + 1 < options_.rounds) {  // the last ones are got from disk
        erase();
      }
    }
    rows_.insert(rows_.end(), {put, get, durable});
  }

  const Options& options_;
  uint32_t most_;
  std::vector<std::vector<StoredPage>> pages_;  // of each client
  uint64_t bytes_ = 0;                          // of a client's pages
  nlohmann::json ceilings_;
  std::vector<Row> rows_;
};

int run(const Options& options) {
  LoadBench bench(options);
  Status done = bench.run();
  if (done.has_error()) {
    std::fprintf(stderr, "load_bench: %s\n", done.error().to_string().c_str());
    return 1;
  }
  const nlohmann::json result = bench.document();
  for (const auto& [name, value] : result["ceilings"].items()) {
    std::printf("%-18s %6.2f GiB/s\n", name.c_str(), value["median"].get<double>());
  }
  for (const auto& row : result["rows"]) {
    std::printf("%-12s %2u clients %6.2f GiB/s  p50 %8.0f us  p99 %8.0f us\n",
                row["phase"].get<std::string>().c_str(),
                row["clients"].get<uint32_t>(),
                row["gib_s"]["median"].get<double>(),
                row["p50_us"].get<double>(),
                row["p99_us"].get<double>());
  }
  if (!options.json.empty()) {
    std::ofstream(options.json) << result.dump(2) << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options options;
  CLI::App app("load_bench: clients that put and get pages through a real sluiced", "load_bench");
  app.add_option("--sluiced", options.sluiced, "the program to start")->required();
  app.add_option("--folder", options.folder, "where its socket and its log go")->required();
  app.add_option("--clients", options.clients, "how many at once")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  app.add_option("--pages", options.pages, "of each client")->check(CLI::Range(1, 10000));
  app.add_option("--rounds", options.rounds, "rounds")->check(CLI::Range(1, 1000));
  app.add_option("--json", options.json, "file to write the figures to");
  CLI11_PARSE(app, argc, argv);
  return sluice::bench::run(options);
}
