// ping, stat, lookup: what the daemon says of itself and of a sequence.
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "src/base/clock.h"
#include "src/base/version.h"
#include "src/cli/commands.h"

namespace sluice::cli {
namespace {

constexpr int kPings = 5;

}  // namespace

Result<int> ping(const DaemonOptions& options, const OutputOptions& output) {
  SteadyClock clock;
  SLUICE_TRY(auto client, open_client(options));
  std::array<uint64_t, kPings> took_ns{};
  for (uint64_t& ns : took_ns) {
    SLUICE_TRY(auto requester, client->requester());
    const uint64_t start = clock.now_ns();
    SLUICE_CHECK(requester->stats(client->call_options()));
    ns = clock.now_ns() - start;
  }
  std::sort(took_ns.begin(), took_ns.end());
  const double median_us = static_cast<double>(took_ns[kPings / 2]) / 1e3;
  const std::string& daemon = client->daemon_software();
  if (output.json) {
    print_document({{"daemon", daemon}, {"client", kVersion}, {"round_trip_us", median_us}});
  } else {
    fmt::print("{} answers in {:.0f} us (median of {})\n", daemon, median_us, kPings);
  }
  return 0;
}

Result<int> stat(const DaemonOptions& options, const OutputOptions& output) {
  SLUICE_TRY(auto client, open_client(options));
  SLUICE_TRY(auto requester, client->requester());
  SLUICE_TRY(auto reply, requester->stats(client->call_options()));
  nlohmann::json out = nlohmann::json::object();
  for (const auto& stat : reply.stats) {
    if (output.json) {
      out[stat.name] = stat.value;
    } else {
      fmt::print("{:<22} {}\n", stat.name, stat.value);
    }
  }
  if (output.json) {
    print_document(out);
  }
  return 0;
}

Result<int> lookup(const SequenceOptions& options, const OutputOptions& output) {
  SLUICE_TRY(Sequence sequence, open_sequence(options, output));
  SLUICE_TRY(uint32_t n_tokens, sequence.cache->lookup(sequence.tokens, sequence.max_kl));
  const std::string& reason = sequence.client->miss_reason;
  if (output.json) {
    print_document(
        {{"tokens", sequence.tokens.size()}, {"tokens_there", n_tokens}, {"miss_reason", reason}});
  } else {
    fmt::print("{} of {} tokens are there\n", n_tokens, sequence.tokens.size());
    if (!reason.empty()) {
      fmt::print("why none: {}\n", reason);
    }
  }
  return n_tokens > 0 ? 0 : 1;
}

}  // namespace sluice::cli
