// What the disk tier writes and reads of 1 MiB records beside fio on the same folder, how long a
// start takes from footers and by a scan, and the CPU seconds of it.
//
//   log_bench --folder DIR [--gib N] [--rounds N] [--depth N] [--batch N] [--start-gib N]
//             [--json FILE] [--no-fio]
//
// In each round fio and the log write, then both read, each on files of its own; who goes first
// alternates, so that a disk that gets slower or faster favours none. Same block size (1 MiB, or
// --batch records a write), same depth (writes one at a time; reads --depth at once, in random
// order), same flags (O_DIRECT, growing files, a sync every 256 MiB). Checks are part of the log's
// time: bytes are verified before they are written and after they are read. Ratios are of
// neighbours in a round; medians over the rounds.
//
// --start-gib writes one log of so many GiB after the rounds and times a start from its footers,
// with the kernel's caches dropped where this user may.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "src/base/clock.h"
#include "src/base/mailbox.h"
#include "store/disk_tier.h"
#include "store/io_threads.h"
#include "store/posix_device.h"
#include "tests/store/sample_record.h"

namespace sluice::store {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kWaitMs = 600'000;
constexpr uint64_t kPages = 64;         // distinct ones, in memory
constexpr uint64_t kSegmentsMax = 512;  // as the daemon chooses their size (src/daemon/disk.cc)

struct Options {
  std::string folder;
  uint32_t gib = 4;
  uint32_t rounds = 5;
  uint32_t depth = 4;
  uint32_t batch = 1;
  uint32_t start_gib = 0;
  std::string json;
  bool no_fio = false;
};

// Seconds, bytes a second, in 10^9, and CPU seconds for 10^9 bytes.
struct Speed {
  double seconds = 0;
  double gb_s = 0;
  double cpu_s_gb = 0;
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <class Body>
Speed measure(uint64_t bytes, Body&& body) {
  SteadyClock clock;
  const double cpu = cpu_seconds();
  const uint64_t start = clock.now_ns();
  body();
  const double seconds = static_cast<double>(clock.now_ns() - start) * 1e-9;
  const double gb = static_cast<double>(bytes) * 1e-9;
  return {.seconds = seconds, .gb_s = gb / seconds, .cpu_s_gb = (cpu_seconds() - cpu) / gb};
}

std::vector<Sample> make_pages() {
  std::vector<Sample> pages;
  for (uint64_t i = 0; i < kPages; ++i) {
    // With its head a record fills 1 MiB.
    pages.push_back(make_sample({.seed = i, .bytes = kMiB - 8192, .sections = 20}));
  }
  return pages;
}

class LogRun {
 public:
  LogRun(const Options& options, uint32_t gib, const std::vector<Sample>& pages)
      : options_(options), gib_(gib), pages_(pages), folder_(options.folder + "/log") {
    std::filesystem::remove_all(folder_);
  }

  ~LogRun() {
    close();
    std::filesystem::remove_all(folder_);
  }

  void open() {
    DiskTierConfig config;
    config.capacity_bytes = (uint64_t{gib_} + 4) << 30;
    config.segment_bytes =
        std::max(config.segment_bytes, round_up_to_block(config.capacity_bytes / kSegmentsMax));
    config.batch_bytes = options_.batch * kMiB;
    config.queue_bytes_max = 16 * kMiB;
    config.reads_max = options_.depth;
    device_ = *PosixDevice::open_folder({.folder = folder_});
    threads_ = std::make_unique<IoThreads>(
        [this](std::function<void()> done) { owner_.post(std::move(done)); }, options_.depth);
    tier_ = *DiskTier::open(config, *device_, *threads_, clock_);
  }

  void close() {
    tier_.reset();
    threads_.reset();
    device_.reset();
  }

  void write(uint64_t records) {
    uint64_t done = 0;
    for (uint64_t i = 0; i < records; ++i) {
      write_one(i, done);
    }
    bool is_synced = false;
    tier_->drain([&](const Status& status) { is_synced = status.has_value(); });
    wait([&] { return is_synced; });
    SLUICE_ASSERT(done == records);
  }

  void read(uint64_t records) {
    Prng prng(7);
    uint64_t begun = 0;
    uint64_t done = 0;
    while (done < records) {
      while (begun < records && begun - done < options_.depth) {
        Status status = tier_->read(0, key_of(prng.below(records)), [&](Result<DiskPage> page) {
          SLUICE_ASSERT(page.has_value());
          ++done;
        });
        SLUICE_ASSERT(status.has_value());
        ++begun;
      }
      wait([&done, before = done] { return done > before; });
    }
  }

  // Takes the trailers away, so that the next open() has to scan.
  void cut_trailers() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (segment_number(entry.path().filename().string())) {
        std::filesystem::resize_file(entry.path(), entry.file_size() - kBlockBytes);
      }
    }
  }

  const RecoveryReport& recovery() const { return tier_->recovery(); }

  bool is_direct() const { return device_->is_direct(); }

 private:
  // Runs what the threads answer until it is over.
  void wait(const std::function<bool()>& is_over) {
    SLUICE_ASSERT(owner_.run_until(is_over, kWaitMs));
  }

  void write_one(uint64_t i, uint64_t& done) {
    const Sample& page = pages_[i % kPages];
    Record record = page.record;
    record.key = key_of(i);
    for (;;) {
      const Status queued =
          tier_->write({.record = record, .bytes = page.bytes}, [&done](const Status& status) {
            SLUICE_ASSERT(status.has_value());
            ++done;
          });
      if (queued.has_value()) {
        return;
      }
      SLUICE_ASSERT(queued.error().code == Errc::overloaded);
      wait([&done, before = done] { return done > before; });
    }
  }

  const Options& options_;
  const uint32_t gib_;
  const std::vector<Sample>& pages_;
  std::string folder_;
  SteadyClock clock_;
  Mailbox owner_;
  std::unique_ptr<PosixDevice> device_;
  std::unique_ptr<IoThreads> threads_;
  std::unique_ptr<DiskTier> tier_;
};

// Runs fio and reads its figures.
Speed fio(const Options& options,
          const std::string& direction,
          uint32_t block_mib,
          const std::string& flags) {
  const std::string command = fmt::format(
      "fio --name=sluice --filename={}/fio --direct=1 --bs={}M --size={}g --output-format=json {}",
      options.folder,
      block_mib,
      options.gib,
      flags);
  FILE* pipe = popen(command.c_str(), "r");
  SLUICE_ASSERT(pipe != nullptr);
  std::string text;
  char buffer[4096];
  for (size_t got = 0; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    text.append(buffer, got);
  }
  SLUICE_ASSERT(pclose(pipe) == 0);
  const nlohmann::json job = nlohmann::json::parse(text)["jobs"][0];
  const double bytes = job[direction]["io_bytes"];
  const double run_s = double{job["job_runtime"]} * 1e-3;  // of all its threads together
  const double cpu = (double{job["usr_cpu"]} + double{job["sys_cpu"]}) / 100;
  const double seconds = double{job[direction]["runtime"]} * 1e-3;
  return {
      .seconds = seconds, .gb_s = bytes * 1e-9 / seconds, .cpu_s_gb = cpu * run_s / (bytes * 1e-9)};
}

struct Figures {
  std::vector<double> values;

  void add(double value) { values.push_back(value); }

  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    return sorted.empty() ? 0 : sorted[sorted.size() / 2];
  }

  nlohmann::json json() const {
    return {{"median", median()},
            {"min", values.empty() ? 0 : *std::min_element(values.begin(), values.end())},
            {"max", values.empty() ? 0 : *std::max_element(values.begin(), values.end())}};
  }
};

void print(const char* what, const Figures& speed, const Figures& cpu) {
  std::printf("%-22s %6.2f GB/s   %6.3f CPU s/GB\n", what, speed.median(), cpu.median());
}

using Table = std::map<std::string, Figures>;

void add(Table& table, const std::string& what, const Speed& speed) {
  table[what + "_gb_s"].add(speed.gb_s);
  table[what + "_cpu_s_gb"].add(speed.cpu_s_gb);
}

Speed fio_write(const Options& options) {
  std::filesystem::remove(options.folder + "/fio");
  return fio(options,
             "write",
             options.batch,
             "--rw=write --ioengine=psync --fallocate=none --end_fsync=1 --fdatasync=" +
                 std::to_string(256 / options.batch));
}

Speed fio_read(const Options& options, uint64_t bytes) {
  return fio(options,
             "read",
             1,
             "--rw=randread --ioengine=psync --thread --group_reporting --numjobs=" +
                 std::to_string(options.depth) +
                 " --io_size=" + std::to_string(bytes / options.depth));
}

// Times the log at `what`, and fio before or after it.
void compare(const Options& options,
             const std::string& what,
             bool fio_first,
             const std::function<Speed()>& run_fio,
             const std::function<Speed()>& run_log,
             Table& table) {
  Speed beside;
  if (!options.no_fio && fio_first) {
    beside = run_fio();
  }
  const Speed log = run_log();
  add(table, "log_" + what, log);
  if (!options.no_fio) {
    beside = fio_first ? beside : run_fio();
    add(table, "fio_" + what, beside);
    table[what + "_to_fio"].add(log.gb_s / beside.gb_s);
  }
}

// Returns whether the log bypassed the page cache.
bool run_round(const Options& options,
               bool fio_first,
               const std::vector<Sample>& pages,
               Table& table) {
  const uint64_t records = uint64_t{options.gib} * 1024;
  const uint64_t bytes = records * kMiB;
  LogRun log(options, options.gib, pages);
  log.open();
  const bool is_direct = log.is_direct();
  SLUICE_ASSERT(is_direct || options.no_fio);  // fio would measure something else
  compare(
      options,
      "write",
      fio_first,
      [&] { return fio_write(options); },
      [&] { return measure(bytes, [&] { log.write(records); }); },
      table);
  compare(
      options,
      "read",
      fio_first,
      [&] { return fio_read(options, bytes); },
      [&] { return measure(bytes, [&] { log.read(records); }); },
      table);
  std::filesystem::remove(options.folder + "/fio");
  log.close();
  const Speed footers = measure(bytes, [&] { log.open(); });
  SLUICE_ASSERT(log.recovery().records == records && log.recovery().scanned_segments == 0);
  table["start_s_100gb"].add(100 / footers.gb_s);
  log.close();
  log.cut_trailers();
  const Speed scan = measure(bytes, [&] { log.open(); });
  SLUICE_ASSERT(log.recovery().records == records && log.recovery().scanned_segments > 0);
  add(table, "scan", scan);
  return is_direct;
}

// False for a user who may not.
bool drop_caches() {
  sync();
  std::ofstream file("/proc/sys/vm/drop_caches");
  file << "3" << std::flush;
  return file.good();
}

// A start of a large log, which is not counted up from a small one.
void run_start(const Options& options, const std::vector<Sample>& pages, nlohmann::json& out) {
  const uint64_t records = uint64_t{options.start_gib} * 1024;
  LogRun log(options, options.start_gib, pages);
  log.open();
  log.write(records);
  log.close();
  const bool is_cold = drop_caches();
  const Speed start = measure(records * kMiB, [&] { log.open(); });
  SLUICE_ASSERT(log.recovery().records == records && log.recovery().scanned_segments == 0);
  std::printf("start %.2f s for %u GiB, %llu segments, caches %s\n",
              start.seconds,
              options.start_gib,
              static_cast<unsigned long long>(log.recovery().segments),
              is_cold ? "dropped" : "as they were (dropping them needs root)");
  out["start_big_gib"] = options.start_gib;
  out["start_big_s"] = start.seconds;
  out["start_big_segments"] = log.recovery().segments;
  out["start_big_caches_dropped"] = is_cold;
}

void print_rounds(const Options& options, Table& table) {
  for (const char* what : {"fio_write", "log_write", "fio_read", "log_read", "scan"}) {
    const std::string name = what;
    print(what, table[name + "_gb_s"], table[name + "_cpu_s_gb"]);
  }
  std::printf("write to fio %.3f   read to fio %.3f   start %.2f s for 100 GB (from %u GiB)\n",
              table["write_to_fio"].median(),
              table["read_to_fio"].median(),
              table["start_s_100gb"].median(),
              options.gib);
}

int run(const Options& options) {
  std::filesystem::create_directories(options.folder);
  const std::vector<Sample> pages = make_pages();
  nlohmann::json out = {{"gib", options.gib}, {"rounds", options.rounds}, {"depth", options.depth}};
  Table table;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    out["direct_io"] = run_round(options, round % 2 == 0, pages, table);
  }
  if (options.rounds != 0) {
    print_rounds(options, table);
  }
  for (const auto& [name, figures] : table) {
    out[name] = figures.json();
  }
  if (options.start_gib != 0) {
    run_start(options, pages, out);
  }
  if (!options.json.empty()) {
    std::ofstream(options.json) << out.dump(2) << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace sluice::store

int main(int argc, char** argv) {
  sluice::store::Options options;
  CLI::App app("log_bench: the disk log beside fio", "log_bench");
  app.add_option("--folder", options.folder, "where to write; emptied of log and fio files")
      ->required();
  app.add_option("--gib", options.gib, "GiB of records")->check(CLI::Range(1, 1000));
  app.add_option("--rounds", options.rounds, "rounds")->check(CLI::Range(0, 1000));
  app.add_option("--depth", options.depth, "reads at once")->check(CLI::Range(1, 64));
  app.add_option("--batch", options.batch, "records in a write")->check(CLI::Range(1, 64));
  app.add_option("--start-gib", options.start_gib, "GiB of a log whose start is timed; 0: none")
      ->check(CLI::Range(0, 100'000));
  app.add_option("--json", options.json, "file to write the figures to");
  app.add_flag("--no-fio", options.no_fio, "leave fio out");
  CLI11_PARSE(app, argc, argv);
  return sluice::store::run(options);
}
