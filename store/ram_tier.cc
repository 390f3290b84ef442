#include "store/ram_tier.h"

#include <algorithm>

#include "src/base/limits.h"

namespace sluice::store {

Status RamTierConfig::validate() const {
  if (capacity_bytes == 0 || capacity_bytes % kExtentAlign != 0 ||
      capacity_bytes > kRamCapacityBytesMax) {
    return SLUICE_ERR(Errc::bad_config,
                      "RAM tier of {} bytes, expected a multiple of {} in {}..{}",
                      capacity_bytes,
                      kExtentAlign,
                      kExtentAlign,
                      kRamCapacityBytesMax);
  }
  if (tenant_bytes_max > capacity_bytes) {
    return SLUICE_ERR(Errc::bad_config,
                      "RAM tier: a tenant's limit of {} bytes exceeds the capacity of {}",
                      tenant_bytes_max,
                      capacity_bytes);
  }
  return {};
}

Reservation::Reservation(RamTier& tier,
                         uint32_t tenant,
                         const Key& anchor,
                         std::unique_ptr<Extent> extent)
    : tier_(&tier), tenant_(tenant), anchor_(anchor), extent_(std::move(extent)) {}

Reservation::Reservation(Reservation&& other) noexcept
    : tier_(std::exchange(other.tier_, nullptr)),
      tenant_(other.tenant_),
      anchor_(other.anchor_),
      extent_(std::move(other.extent_)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  // What this one held ends with `other`.
  std::swap(tier_, other.tier_);
  std::swap(tenant_, other.tenant_);
  std::swap(anchor_, other.anchor_);
  std::swap(extent_, other.extent_);
  return *this;
}

Reservation::~Reservation() {
  if (tier_ != nullptr) {
    tier_->release(*this);
  }
}

RamTier::RamTier(const RamTierConfig& config, std::shared_ptr<Arena> arena)
    : config_(config), arena_(std::move(arena)) {
  if (config_.tenant_bytes_max == 0) {
    config_.tenant_bytes_max = config_.capacity_bytes;
  }
  stats_.capacity_bytes = config_.capacity_bytes;
}

RamTier::~RamTier() = default;

Result<std::unique_ptr<RamTier>> RamTier::open(const RamTierConfig& config) {
  SLUICE_CHECK(config.validate());
  SLUICE_TRY(auto arena, Arena::open(config.capacity_bytes));
  return std::unique_ptr<RamTier>(new RamTier(config, std::move(arena)));
}

Result<Reservation> RamTier::reserve(uint32_t tenant, const Key& anchor, uint64_t bytes) {
  if (bytes == 0) {
    return SLUICE_ERR(Errc::invalid_argument, "a record of 0 bytes was to be stored");
  }
  // The bound on one page comes first, so that no sum below overflows.
  const uint64_t share = config_.capacity_bytes / kReservedShare;
  const uint64_t bytes_max = std::min(share, config_.tenant_bytes_max);
  if (bytes > kPageBytesMax || put_charge(bytes).sum() > bytes_max) {
    return SLUICE_ERR(Errc::too_large,
                      "a record of {} bytes, expected up to {} and, with {} for its index entry, "
                      "{}: a quarter of the RAM tier, or the tenant's share",
                      bytes,
                      kPageBytesMax,
                      put_charge(bytes).overhead_bytes,
                      bytes_max);
  }
  if (stats_.reserved_bytes + put_charge(bytes).sum() > share) {
    stats_.refused += 1;
    return SLUICE_ERR(Errc::overloaded,
                      "RAM tier: puts on their way hold {} bytes of {}, {} more would exceed a "
                      "quarter; put again when they have ended",
                      stats_.reserved_bytes,
                      config_.capacity_bytes,
                      bytes);
  }
  Tenant& owner = tenants_[tenant];
  owner.order.claim(anchor);
  std::unique_ptr<Extent> extent = make_room(owner, bytes);
  if (extent == nullptr) {
    owner.order.release(anchor);
    stats_.refused += 1;
    return no_space(tenant, bytes);
  }
  charge(owner, put_charge(bytes));
  stats_.reserved_bytes += put_charge(bytes).sum();
  return Reservation(*this, tenant, anchor, std::move(extent));
}

Status RamTier::commit(Reservation&& reservation, Record record) {
  // From here on the reservation ends with this call, however it ends.
  Reservation taken(std::move(reservation));
  SLUICE_ASSERT(taken.tier_ == this);
  SLUICE_ASSERT(record.tenant == taken.tenant_ && record.anchor == taken.anchor_);
  SLUICE_CHECK(verify(record, std::as_const(taken).bytes()));
  Tenant& owner = tenants_[record.tenant];
  const Charge reserved = put_charge(record.bytes());
  const Charge charged = record_charge(record);
  if (charged.sum() > reserved.sum() && !make_charge_fit(owner, charged.sum() - reserved.sum())) {
    return no_space(record.tenant, charged.sum() - reserved.sum());
  }
  SLUICE_CHECK(owner.order.insert(record.key, record.anchor, ++now_));

  auto stored = std::make_shared<StoredRecord>();
  stored->record = std::move(record);
  stored->extent = std::move(taken.extent_);
  taken.tier_ = nullptr;
  owner.order.release(taken.anchor_);
  discharge(owner, reserved);
  stats_.reserved_bytes -= reserved.sum();
  charge(owner, charged);
  stats_.bytes += charged.sum();

  auto [place, added] = owner.records.try_emplace(stored->record.key);
  if (added) {
    stats_.stored += 1;
    stats_.records += 1;
  } else {
    const Charge old = record_charge(place->second->record);
    discharge(owner, old);
    stats_.bytes -= old.sum();
    stats_.replaced += 1;
  }
  place->second = std::move(stored);
  return {};
}

const Record* RamTier::find(uint32_t tenant, const Key& key) const {
  const auto* stored = lookup(tenant, key);
  return stored == nullptr ? nullptr : &(*stored)->record;
}

Result<PageRef> RamTier::read(uint32_t tenant, const Key& key) {
  const Record* record = find(tenant, key);
  const size_t sections = record == nullptr ? 0 : record->sections.size();
  return read(tenant, key, {{{.first = 0, .count = static_cast<uint32_t>(sections)}}});
}

Result<PageRef> RamTier::read(uint32_t tenant, const Key& key, std::span<const SectionRun> runs) {
  const auto* found = lookup(tenant, key);
  if (found == nullptr) {
    stats_.misses += 1;
    return SLUICE_ERR(Errc::not_found, "record {} of tenant {}", to_hex(key), tenant);
  }
  PageRef page(*found);
  Status whole = verify_runs(page.record(), page.bytes(), runs);
  if (whole.has_error()) {
    if (whole.error().code == Errc::invalid_argument) {
      return std::move(whole).error();
    }
    remove(tenants_[tenant], key);
    stats_.damaged += 1;
    return SLUICE_ERR(Errc::damaged, "{}; taken out of the RAM tier", whole.error().text);
  }
  stats_.hits += 1;
  touch(tenant, key);
  return page;
}

std::optional<PageRef> RamTier::hold(uint32_t tenant, const Key& key) const {
  const auto* found = lookup(tenant, key);
  return found == nullptr ? std::nullopt : std::optional(PageRef(*found));
}

void RamTier::touch(uint32_t tenant, const Key& key) {
  if (lookup(tenant, key) != nullptr) {
    tenants_[tenant].order.touch(key, ++now_);
  }
}

Status RamTier::cut(uint32_t tenant, const Key& key, const EncodingId& encoding_id, uint32_t rows) {
  const auto* found = lookup(tenant, key);
  if (found == nullptr || (*found)->record.encoding_id != encoding_id) {
    return SLUICE_ERR(
        Errc::not_found, "record {} of tenant {} in that encoding", to_hex(key), tenant);
  }
  StoredRecord& stored = **found;
  if (rows == 0 || rows >= stored.record.rows.count) {
    return SLUICE_ERR(Errc::invalid_argument,
                      "record {} has {} rows, it cannot be cut to {}",
                      to_hex(key),
                      stored.record.rows.count,
                      rows);
  }
  if (found->use_count() > 1) {
    return SLUICE_ERR(Errc::overloaded,
                      "record {} is being read or written to disk; cut it when it is not",
                      to_hex(key));
  }
  const Charge before = record_charge(stored.record);
  stored.record.shorten(rows);
  stored.extent->shorten(stored.record.bytes());
  const Charge after = record_charge(stored.record);
  discharge(tenants_[tenant], before);
  charge(tenants_[tenant], after);
  stats_.bytes -= before.sum() - after.sum();
  return {};
}

bool RamTier::erase(uint32_t tenant, const Key& key) {
  if (lookup(tenant, key) == nullptr) {
    return false;
  }
  remove(tenants_[tenant], key);
  stats_.erased += 1;
  return true;
}

Result<bool> RamTier::recheck(uint32_t tenant, const Key& key, const EncodingId& encoding_id) {
  const auto* found = lookup(tenant, key);
  if (found == nullptr || (*found)->record.encoding_id != encoding_id) {
    return SLUICE_ERR(Errc::not_found,
                      "record {} of tenant {} in encoding {}",
                      to_hex(key),
                      tenant,
                      to_hex(encoding_id));
  }
  if (verify((*found)->record, std::as_const(*(*found)->extent).bytes()).has_value()) {
    return false;
  }
  remove(tenants_[tenant], key);
  stats_.damaged += 1;
  return true;
}

RamTierStats RamTier::stats() const {
  RamTierStats now = stats_;
  // Charges cover every extent but those that left the index and are still held.
  now.held_bytes = arena_->used_bytes() + overhead_bytes_ - now.bytes - now.reserved_bytes;
  return now;
}

Error RamTier::no_space(uint32_t tenant, uint64_t bytes) const {
  RamTierStats now = stats();
  return SLUICE_ERR(Errc::no_space,
                    "RAM tier: no room for {} bytes of tenant {}, which is charged {} of {}; of "
                    "{} in all, records have {}, puts on their way {}, readers of what was evicted "
                    "{}; nothing that is left may be evicted; give the RAM tier more memory",
                    bytes,
                    tenant,
                    tenants_.at(tenant).charged_bytes,
                    config_.tenant_bytes_max,
                    config_.capacity_bytes,
                    now.bytes,
                    now.reserved_bytes,
                    now.held_bytes);
}

RamTier::Charge RamTier::put_charge(uint64_t bytes) {
  return {.extent_bytes = Arena::extent_bytes(bytes),
          .overhead_bytes = kRecordOverheadBytes + bytes / kPutOverheadShare};
}

RamTier::Charge RamTier::record_charge(const Record& record) {
  return {.extent_bytes = Arena::extent_bytes(record.bytes()),
          .overhead_bytes = kRecordOverheadBytes + kSectionOverheadBytes * record.sections.size()};
}

std::unique_ptr<Extent> RamTier::make_room(Tenant& tenant, uint64_t bytes) {
  const uint64_t need = put_charge(bytes).sum();
  while (make_charge_fit(tenant, need)) {
    if (auto extent = arena_->allocate(bytes)) {
      return extent;
    }
    if (!evict_one()) {  // there is room, but not in one piece
      return nullptr;
    }
  }
  return nullptr;
}

bool RamTier::make_charge_fit(Tenant& tenant, uint64_t need) {
  while (tenant.charged_bytes + need > config_.tenant_bytes_max) {
    if (!fits_beside_readers(need) || !evict_one_of(tenant)) {
      return false;
    }
  }
  while (arena_->used_bytes() + overhead_bytes_ + need > config_.capacity_bytes) {
    if (!fits_beside_readers(need) || !evict_one()) {
      return false;
    }
  }
  return true;
}

bool RamTier::fits_beside_readers(uint64_t need) const {
  const RamTierStats now = stats();
  return now.held_bytes + now.reserved_bytes + need <= config_.capacity_bytes;
}

bool RamTier::evict_one_of(Tenant& tenant) {
  std::optional<Victim> victim = tenant.order.victim();
  if (victim) {
    evict(tenant, *victim);
  }
  return victim.has_value();
}

bool RamTier::evict_one() {
  Tenant* owner = nullptr;
  Victim first;
  for (auto& [id, tenant] : tenants_) {
    std::optional<Victim> victim = tenant.order.victim();
    if (victim && (owner == nullptr || victim->before(first))) {
      owner = &tenant;
      first = *victim;
    }
  }
  if (owner != nullptr) {
    evict(*owner, first);
  }
  return owner != nullptr;
}

void RamTier::evict(Tenant& tenant, const Victim& victim) {
  remove(tenant, victim.key);
  (victim.kind == VictimKind::orphan ? stats_.evicted_orphans : stats_.evicted_leaves) += 1;
}

void RamTier::remove(Tenant& tenant, const Key& key) {
  auto found = tenant.records.find(key);
  const Charge charged = record_charge(found->second->record);
  tenant.order.remove(key);
  tenant.records.erase(found);
  discharge(tenant, charged);
  stats_.bytes -= charged.sum();
  stats_.records -= 1;
}

void RamTier::charge(Tenant& tenant, const Charge& charge) {
  tenant.charged_bytes += charge.sum();
  overhead_bytes_ += charge.overhead_bytes;
}

void RamTier::discharge(Tenant& tenant, const Charge& charge) {
  tenant.charged_bytes -= charge.sum();
  overhead_bytes_ -= charge.overhead_bytes;
}

void RamTier::release(const Reservation& reservation) {
  Tenant& owner = tenants_[reservation.tenant_];
  const Charge charged = put_charge(reservation.bytes().size());
  owner.order.release(reservation.anchor_);
  discharge(owner, charged);
  stats_.reserved_bytes -= charged.sum();
}

const std::shared_ptr<StoredRecord>* RamTier::lookup(uint32_t tenant, const Key& key) const {
  auto owner = tenants_.find(tenant);
  if (owner == tenants_.end()) {
    return nullptr;
  }
  auto found = owner->second.records.find(key);
  return found == owner->second.records.end() ? nullptr : &found->second;
}

}  // namespace sluice::store
