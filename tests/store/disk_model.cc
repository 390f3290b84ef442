#include "tests/store/disk_model.h"

#include <algorithm>
#include <cstdio>

namespace sluice::store {

DiskModel::DiskModel(const DiskModelConfig& config)
    : config_(config), prng_(config.seed), device_(config.seed * 7 + 1), runner_(config.seed * 13) {
  oracle_.may_evict = config.is_small || config.is_failing;
  device_.left_out = config.left_out;
  open();
}

void DiskModel::fail(const std::string& what) {
  if (failure_.empty()) {
    failure_ = fmt::format("seed {} step {}: {}", config_.seed, steps_, what);
  }
}

void DiskModel::trace(std::string_view what) const {
  if (config_.trace) {
    std::fprintf(stderr,
                 "step %llu: %.*s\n",
                 static_cast<unsigned long long>(steps_),
                 static_cast<int>(what.size()),
                 what.data());
  }
}

void DiskModel::open() {
  DiskTierConfig config;
  config.segment_bytes = 64 << 10;
  config.capacity_bytes = config_.is_small ? 512 << 10 : 1 << 30;
  config.queue_bytes_max = 1 << 20;
  config.batch_bytes = 32 << 10;
  config.reads_max = 4;
  config.new_log_id = sample_log_id();
  config.log_line = [this](LineLevel, std::string_view line) { trace(line); };
  auto tier = DiskTier::open(config, device_, runner_, clock_);
  if (tier.has_error()) {
    fail("open: " + tier.error().to_string());
    return;
  }
  tier_ = *std::move(tier);
  for (const std::string& line : tier_->recovery().lines) {
    trace(line);
  }
  reached_.tails += tier_->recovery().dropped_tails;
  ends_at_ = steps_ + 20 + prng_.below(config_.is_small ? 400 : 250);
  oracle_.restart();
  unread_.clear();
  compare();
  for (uint32_t tenant = 0; tenant < 2; ++tenant) {
    for (uint64_t i = 0; i < 20; ++i) {
      Id id = {tenant, key_of(i)};
      auto entry = tier_->find(tenant, id.second);
      oracle_.shown_after_restart(id, entry);
      if (entry && !entry->is_durable) {
        fail("recovery shows a page and says that it is not durable");
      }
    }
  }
}

void DiskModel::end_process() {
  DiskTierStats stats = tier_->stats();
  reached_.evicted += stats.evicted;
  reached_.failed_segments += stats.failed_segments;
  reached_.dropped_writes += stats.dropped_writes + stats.overloaded_writes;
  tier_.reset();
  runner_.forget();
  device_.faults = {};
  device_.capacity_bytes = ~0ull;
  if (prng_.below(2) == 0) {
    ++reached_.crashes;
    trace("power loss");
    device_.crash();
  } else {
    ++reached_.kills;
    trace("kill");
    device_.kill();
  }
  open();
}

void DiskModel::put() {
  Id id = any_id();
  bool is_large = prng_.below(24) == 0;
  auto sample = std::make_shared<Sample>(
      make_sample({.seed = prng_.next(),
                   .bytes = is_large ? 60'000 + prng_.below(40'000) : 100 + prng_.below(9000),
                   .tenant = id.first,
                   .key = id.second,
                   .row_a_section = true}));
  bool want_durable = prng_.below(2) == 0;
  uint64_t ticket = oracle_.put(id, sample);
  DiskWrite write{.record = sample->record,
                  .bytes = sample->bytes,
                  .keep_alive = sample,
                  .want_durable = want_durable};
  Status status = tier_->write(std::move(write), [=, this](Status acked) {
    reached_.failed_acks += acked.has_error();
    if (want_durable && acked.has_value()) {
      ++reached_.durable_acks;
      oracle_.put_is_durable(id, ticket);
      trace(fmt::format("put {} of {} is durable", ticket, to_hex(ByteSpan(id.second).first(2))));
    }
  });
  if (status.has_error() && status.error().code != Errc::overloaded) {
    fail("write: " + status.error().to_string());
  }
}

void DiskModel::erase() {
  std::vector<RecordId> keys;
  std::vector<std::pair<Id, uint64_t>> tickets;
  for (uint64_t i = 0; i <= prng_.below(3); ++i) {
    Id id = any_id();
    keys.push_back({.tenant = id.first, .key = id.second});
  }
  for (const RecordId& key : keys) {
    Id id = {key.tenant, key.key};
    tickets.emplace_back(id, oracle_.erase(id));
  }
  Status status = tier_->erase(keys, [=, this](Status acked) {
    for (const auto& [id, ticket] : tickets) {
      if (acked.has_value()) {
        ++reached_.erase_acks;
        oracle_.erase_is_durable(id, ticket);
      }
    }
  });
  if (status.has_error()) {
    fail("erase: " + status.error().to_string());
  }
}

void DiskModel::cut() {
  Id id = any_id();
  auto entry = tier_->find(id.first, id.second);
  const Version* version = entry ? oracle_.version_of(id, entry->record.encoding_id) : nullptr;
  const auto rows = static_cast<uint32_t>(1 + prng_.below(2));
  if (version == nullptr || rows >= entry->record.rows.count) {
    return;
  }
  uint64_t bytes = version->sample->record.rows.ends[rows - 1].end;
  uint64_t ticket = version->ticket;
  DiskCut cut{
      .tenant = id.first, .key = id.second, .encoding_id = entry->record.encoding_id, .rows = rows};
  Status status = tier_->cut(cut, [=, this](Status acked) {
    if (acked.has_value()) {
      ++reached_.cut_acks;
      oracle_.cut_is_durable(id, ticket, bytes);
    }
  });
  if (status.has_value()) {
    oracle_.cut(id, ticket, bytes);
  } else if (status.error().code != Errc::overloaded) {
    fail("cut: " + status.error().to_string());
  }
}

void DiskModel::read() {
  Id id = any_id();
  bool is_there = tier_->find(id.first, id.second).has_value();
  Status status = tier_->read(id.first, id.second, [=, this](Result<DiskPage> page) {
    if (page.has_value()) {
      ++reached_.pages_read;
      if (auto wrong = oracle_.check_bytes(id, *page)) {
        fail("read: " + *wrong);
      }
    } else if (page.error().code == Errc::io_error && device_.is_stopped()) {
      unread_.insert(id);
    } else if (page.error().code != Errc::not_found && !config_.is_failing) {
      fail("read: " + page.error().to_string());
    }
  });
  Errc code = status.has_error() ? status.error().code : Errc::ok;
  if (code != Errc::overloaded && (code == Errc::ok) != is_there) {
    fail("read and find do not agree");
  }
}

// Something from outside: time, failures, the end.
void DiskModel::disturb() {
  switch (prng_.below(8)) {
    case 0:
      clock_.advance_ns(prng_.below(3) * 700'000'000);
      tier_->tick();
      break;
    case 1:
      tier_->commit({});
      break;
    case 2:
      if (prng_.below(4) == 0) {
        tier_->drain({});
      }
      break;
    case 3:
      if (prng_.below(8) == 0) {
        device_.stop_after(prng_.below(40));
      }
      break;
    case 4:
      if (config_.is_failing) {
        device_.faults.write_error = prng_.below(4) == 0 ? 100 : 0;
        device_.faults.sync_error = prng_.below(4) == 0 ? 100 : 0;
        device_.faults.folder_sync_error = prng_.below(4) == 0 ? 100 : 0;
        device_.faults.cut_error = prng_.below(4) == 0 ? 300 : 0;
      }
      break;
    case 5:
      if (config_.is_failing) {
        device_.capacity_bytes =
            prng_.below(3) == 0 ? device_.total_bytes() + prng_.below(64 << 10) : ~0ull;
      }
      break;
    default:
      break;
  }
}

void DiskModel::compare() {
  std::map<Id, std::optional<DiskEntry>> shown;
  for (uint32_t tenant = 0; tenant < 2; ++tenant) {
    for (uint64_t i = 0; i < 20; ++i) {
      Id id = {tenant, key_of(i)};
      shown[id] = tier_->find(tenant, id.second);
      if (auto wrong = oracle_.check(id, shown[id])) {
        fail(*wrong);
      }
      if (!shown[id] && unread_.contains(id)) {
        shown.erase(id);
      }
    }
  }
  if (auto wrong = oracle_.check_missing(shown)) {
    fail(*wrong);
  }
}

void DiskModel::step() {
  if (!failure_.empty()) {
    return;
  }
  ++steps_;
  uint64_t choice = prng_.below(100);
  if (choice < 20) {
    put();
  } else if (choice < 25) {
    erase();
  } else if (choice < 28) {
    cut();
  } else if (choice < 36) {
    read();
  } else if (choice < 44) {
    disturb();
  } else {
    runner_.step();
  }
  compare();
  if (device_.is_stopped() || steps_ >= ends_at_) {
    for (uint64_t i = prng_.below(8); i > 0 && failure_.empty(); --i) {
      runner_.step();
      compare();
    }
    end_process();
  }
}

}  // namespace sluice::store
