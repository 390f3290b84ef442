#include "store/disk_tier.h"

#include <algorithm>
#include <random>
#include <utility>

namespace sluice::store {

namespace {

constexpr uint64_t kIdleBufferBytes = 32 << 20;  // kept for the next reads
constexpr uint64_t kMiB = 1 << 20;

LogId random_log_id() {
  std::random_device source;
  LogId id;
  for (size_t i = 0; i < id.size(); i += 4) {
    store_le<uint32_t>(id.data() + i, source());
  }
  return id;
}

Status expect(std::string_view option, uint64_t value, uint64_t least, uint64_t most) {
  if (value < least || value > most) {
    return SLUICE_ERR(
        Errc::bad_config, "disk tier: {} is {}, allowed {} to {}", option, value, least, most);
  }
  return {};
}

}  // namespace

Status DiskTierConfig::validate() const {
  SLUICE_CHECK(expect("segment_bytes", segment_bytes, 64 << 10, 16ull << 30));
  SLUICE_CHECK(expect("segment_bytes modulo 4096", segment_bytes % kBlockBytes, 0, 0));
  SLUICE_CHECK(expect("capacity_bytes", capacity_bytes, 4 * segment_bytes, 1ull << 50));
  SLUICE_CHECK(expect("queue_bytes_max", queue_bytes_max, kMiB, 1ull << 40));
  SLUICE_CHECK(expect("batch_bytes", batch_bytes, kBlockBytes, 64 * kMiB));
  SLUICE_CHECK(expect("reads_max", reads_max, 1, 65536));
  SLUICE_CHECK(expect("read_bytes_max", read_bytes_max, 1, 1ull << 40));
  SLUICE_CHECK(expect("sync_interval_ms", sync_interval_ms, 1, 60'000));
  return expect("descriptors_max", descriptors_max, 1, 1 << 20);
}

DiskTier::DiskTier(const DiskTierConfig& config,
                   BlockDevice& device,
                   IoRunner& runner,
                   const Clock& clock)
    : config_(config),
      buffers_(std::make_shared<BufferPool>(kIdleBufferBytes)),
      batch_bytes_(round_up_to_block(std::min(config.batch_bytes, config.segment_bytes / 4))),
      device_(device),
      runner_(runner),
      clock_(clock) {
  stats_.capacity_bytes = config.capacity_bytes;
}

DiskTier::~DiskTier() = default;

Result<std::unique_ptr<DiskTier>> DiskTier::open(const DiskTierConfig& config,
                                                 BlockDevice& device,
                                                 IoRunner& runner,
                                                 const Clock& clock) {
  SLUICE_CHECK(config.validate());
  std::unique_ptr<DiskTier> tier(new DiskTier(config, device, runner, clock));
  SLUICE_CHECK(tier->recover());
  return tier;
}

Status DiskTier::recover() {
  SLUICE_TRY(RecoveredLog log, recover_log(device_, config_.descriptors_max, index_, recovery_));
  log_id_ = log.log_id ? *log.log_id : config_.new_log_id ? *config_.new_log_id : random_log_id();
  LogWriterConfig writer;
  writer.log_id = log_id_;
  writer.capacity_bytes = config_.capacity_bytes;
  writer.segment_bytes = config_.segment_bytes;
  writer.next_number = log.next_number;
  writer.segments = std::move(log.segments);
  writer.last = std::move(log.last_whole);
  writer_ = std::make_shared<LogWriter>(writer, device_, clock_);
  for (const RecoveredDescriptor& found : recovery_.descriptors) {
    RecordId space = {found.tenant, found.space_id};
    writer_->describe(space, std::make_shared<Bytes>(found.bytes));
    if (auto oldest = remember_space(space)) {
      writer_->forget(*oldest);
    }
  }
  durable_sequence_ = writer.durable_sequence();
  last_sequence_ = durable_sequence_;
  stats_.log_bytes = recovery_.log_bytes;
  return {};
}

void DiskTier::log_line(LineLevel level, std::string_view line) const {
  if (config_.log_line) {
    config_.log_line(level, line);
  }
}

void DiskTier::run(Lane lane, std::function<void()> work, std::function<void()> done) {
  auto guarded = [alive = std::weak_ptr<bool>(alive_), done = std::move(done)] {
    if (!alive.expired()) {
      done();
    }
  };
  runner_.run(lane, std::move(work), std::move(guarded));
}

std::optional<DiskEntry> DiskTier::find(uint32_t tenant, const Key& key) const {
  const IndexEntry* entry = index_.find(tenant, key);
  if (entry == nullptr) {
    return {};
  }
  return DiskEntry{.record = RecordHead{.entry = entry->log}.record(),
                   .bytes = entry->log.bytes,
                   .is_durable = DiskIndex::is_durable(*entry, durable_sequence_)};
}

Status DiskTier::check_write(const DiskWrite& write) const {
  const Record& record = write.record;
  if (write.bytes.empty() || record.bytes() != write.bytes.size() || record.rows.count == 0) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "record {}: {} bytes in {} rows, it says {}",
                      to_hex(record.key),
                      write.bytes.size(),
                      record.rows.count,
                      record.bytes());
  }
  uint64_t extent = LogBatch::page_bytes(record) + kDescriptorBytesMax + 8 * kBlockBytes;
  if (write.bytes.size() > kPageBytesMax || record.header_bytes > kPageHeaderBytesMax ||
      record.sections.size() > kSectionSumsMax || extent > config_.capacity_bytes / 2) {
    return SLUICE_ERR(
        Errc::too_large,
        "record {}: {} bytes in {} sections, more than a log of {} bytes takes; raise "
        "disk.capacity",
        to_hex(record.key),
        write.bytes.size(),
        record.sections.size(),
        config_.capacity_bytes);
  }
  return {};
}

Error DiskTier::queue_full() const {
  return SLUICE_ERR(Errc::overloaded,
                    "{} bytes wait to be written, at most {}: the disk is slower than what comes; "
                    "try again later",
                    queued_bytes_,
                    config_.queue_bytes_max);
}

void DiskTier::push(DiskOp op) {
  op.ticket = next_ticket_++;
  queued_bytes_ += op.charge_bytes;
  queue_.push_back(std::move(op));
  pump();
}

Status DiskTier::write(DiskWrite write, DiskDone done) {
  SLUICE_CHECK(check_write(write));
  uint64_t charge =
      kOpOverheadBytes + write.bytes.size() + write.record.sections.size() * sizeof(SectionSum);
  if (queued_bytes_ != 0 && queued_bytes_ + charge > config_.queue_bytes_max) {
    ++(write.want_durable ? stats_.overloaded_writes : stats_.dropped_writes);
    return queue_full();
  }
  push({.kind = DiskOpKind::page,
        .charge_bytes = charge,
        .want_durable = write.want_durable,
        .record = std::move(write.record),
        .bytes = write.bytes,
        .keep_alive = std::move(write.keep_alive),
        .done = std::move(done)});
  return {};
}

// The oldest space, where one has to go for this.
std::optional<RecordId> DiskTier::remember_space(const RecordId& space) {
  described_.insert(space);
  described_order_.push_back(space);
  if (described_order_.size() <= config_.descriptors_max) {
    return {};
  }
  RecordId oldest = described_order_.front();
  described_order_.pop_front();
  described_.erase(oldest);
  return oldest;
}

Status DiskTier::write_descriptor(uint32_t tenant, const Key& space_id, ByteSpan bytes) {
  RecordId key = {tenant, space_id};
  if (described_.contains(key)) {
    return {};
  }
  if (bytes.empty() || bytes.size() > kDescriptorBytesMax) {
    return SLUICE_ERR(Errc::too_large,
                      "a descriptor of {} bytes, allowed 1 to {}",
                      bytes.size(),
                      kDescriptorBytesMax);
  }
  if (queued_bytes_ > config_.queue_bytes_max) {
    return queue_full();
  }
  push({.kind = DiskOpKind::descriptor,
        .charge_bytes = kOpOverheadBytes + bytes.size(),
        .space = key,
        .forgotten = remember_space(key),
        .descriptor = std::make_shared<Bytes>(bytes.begin(), bytes.end())});
  return {};
}

Status DiskTier::erase(std::span<const RecordId> keys, DiskDone done) {
  if (keys.size() > kKeysMax) {
    return SLUICE_ERR(Errc::too_large, "{} keys to erase, at most {}", keys.size(), kKeysMax);
  }
  DiskOp op{.kind = DiskOpKind::tombstone,
            .charge_bytes = kOpOverheadBytes + keys.size() * sizeof(RecordId),
            .want_durable = true,
            .deleted = {keys.begin(), keys.end()}};
  if (op.log_bytes() > config_.capacity_bytes / 2) {
    return SLUICE_ERR(Errc::too_large,
                      "{} keys to erase, more than a log of {} bytes takes; erase fewer at once",
                      keys.size(),
                      config_.capacity_bytes);
  }
  if (queued_bytes_ > config_.queue_bytes_max) {
    return queue_full();
  }
  if (keys.empty()) {
    commit(std::move(done));
    return {};
  }
  for (const RecordId& id : keys) {
    stats_.erased += index_.erase(id.tenant, id.key);
    erases_[id] = next_ticket_;
  }
  for (const std::shared_ptr<ReadJob>& read : reads_) {
    auto erased = erases_.find({read->entry.tenant, read->entry.key});
    read->is_cancelled |= erased != erases_.end() && erased->second == next_ticket_;
  }
  op.done = std::move(done);
  push(std::move(op));
  return {};
}

void DiskTier::commit(DiskDone done) {
  push({.kind = DiskOpKind::barrier, .charge_bytes = kOpOverheadBytes, .done = std::move(done)});
}

void DiskTier::drain(DiskDone done) {
  push({.kind = DiskOpKind::barrier,
        .charge_bytes = kOpOverheadBytes,
        .seal = true,
        .done = std::move(done)});
}

void DiskTier::tick() {
  uint64_t interval_ns = config_.sync_interval_ms * 1'000'000;
  bool is_idle = queue_.empty() && jobs_staging_ + jobs_writing_ == 0;
  if (is_dirty() && is_idle && clock_.now_ns() - dirty_since_ns_ >= interval_ns) {
    commit({});
  }
}

DiskTierStats DiskTier::stats() const {
  DiskTierStats out = stats_;
  DeviceStats device = device_.stats();
  out.segments = index_.segments();
  out.records = index_.records();
  out.page_bytes = index_.page_bytes();
  out.queued_bytes = queued_bytes_;
  out.reads_in_flight = reads_.size();
  out.written_bytes = device.written_bytes;
  out.syncs = device.syncs;
  return out;
}

}  // namespace sluice::store
