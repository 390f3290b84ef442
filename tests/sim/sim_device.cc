#include "tests/sim/sim_device.h"

#include <algorithm>

namespace sluice::store {

// A handle; each call goes to the device, under its lock.
class SimFile final : public BlockFile {
 public:
  SimFile(SimDevice& device,
          std::shared_ptr<DeviceCounters> counters,
          std::shared_ptr<SimContent> content)
      : BlockFile(std::move(counters)),
        device_(device),
        content_(std::move(content)),
        generation_(device.generation_) {}

 private:
  Status do_read(uint64_t offset, MutByteSpan out) override {
    std::scoped_lock lock(device_.mutex_);
    SLUICE_CHECK(device_.gone(generation_));
    return device_.read(*content_, offset, out);
  }

  Status do_write(uint64_t offset, ByteSpan bytes) override {
    std::scoped_lock lock(device_.mutex_);
    SLUICE_CHECK(device_.gone(generation_));
    return device_.write(*content_, offset, bytes);
  }

  Status do_sync(SyncSite site) override {
    std::scoped_lock lock(device_.mutex_);
    SLUICE_CHECK(device_.gone(generation_));
    return device_.sync(*content_, site);
  }

  Status do_truncate(uint64_t bytes) override {
    std::scoped_lock lock(device_.mutex_);
    SLUICE_CHECK(device_.gone(generation_));
    return device_.truncate(*content_, bytes);
  }

  Result<uint64_t> do_size() override {
    std::scoped_lock lock(device_.mutex_);
    SLUICE_CHECK(device_.gone(generation_));
    return content_->now.size();
  }

  SimDevice& device_;
  std::shared_ptr<SimContent> content_;
  uint64_t generation_;
};

void SimDevice::stop_after(uint64_t calls) {
  std::scoped_lock lock(mutex_);
  calls_left_ = calls;
}

uint64_t SimDevice::total_bytes() const {
  uint64_t sum = 0;
  for (const auto& [name, content] : names_) {
    sum += content->now.size();
  }
  return sum;
}

std::map<std::string, Bytes> SimDevice::image() const {
  std::map<std::string, Bytes> out;
  for (const auto& [name, content] : names_) {
    out[name] = content->now;
  }
  return out;
}

void SimDevice::load(const std::map<std::string, Bytes>& image) {
  names_.clear();
  for (const auto& [name, bytes] : image) {
    names_[name] = std::make_shared<SimContent>(SimContent{.now = bytes, .durable = bytes});
  }
  durable_names_ = names_;
}

void SimDevice::flip(SimContent& content, uint64_t at, uint8_t bit) {
  for (Bytes* bytes : {&content.now, &content.durable}) {
    if (at < bytes->size()) {
      (*bytes)[at] ^= static_cast<uint8_t>(1 << bit);
    }
  }
}

bool SimDevice::count_change(bool& in_part) {
  in_part = calls_left_ && *calls_left_ == 0;
  if (in_part) {
    stopped_ = true;
    calls_left_.reset();
  } else if (calls_left_) {
    --*calls_left_;
  }
  return !in_part;
}

Status SimDevice::gone(uint64_t generation) const {
  if (stopped_ || generation != generation_) {
    return SLUICE_ERR(Errc::io_error, "the simulated device is gone");
  }
  return {};
}

Result<std::shared_ptr<BlockFile>> SimDevice::do_create(const std::string& name) {
  std::scoped_lock lock(mutex_);
  SLUICE_CHECK(gone(generation_));
  bool in_part = false;
  if (names_.contains(name) || !count_change(in_part)) {
    return SLUICE_ERR(Errc::io_error, "cannot create {}", name);
  }
  auto content = std::make_shared<SimContent>();
  names_[name] = content;
  return std::shared_ptr<BlockFile>(std::make_shared<SimFile>(*this, counters(), content));
}

Result<std::shared_ptr<BlockFile>> SimDevice::do_open(const std::string& name) {
  std::scoped_lock lock(mutex_);
  SLUICE_CHECK(gone(generation_));
  auto found = names_.find(name);
  if (found == names_.end()) {
    return SLUICE_ERR(Errc::not_found, "there is no {}", name);
  }
  return std::shared_ptr<BlockFile>(std::make_shared<SimFile>(*this, counters(), found->second));
}

Result<std::vector<std::string>> SimDevice::do_list() {
  std::scoped_lock lock(mutex_);
  SLUICE_CHECK(gone(generation_));
  std::vector<std::string> out;
  for (const auto& [name, content] : names_) {
    out.push_back(name);
  }
  return out;
}

Status SimDevice::do_remove(const std::string& name) {
  std::scoped_lock lock(mutex_);
  SLUICE_CHECK(gone(generation_));
  bool in_part = false;
  if (!names_.contains(name) || keeps_names || !count_change(in_part)) {
    return SLUICE_ERR(Errc::io_error, "cannot remove {}", name);
  }
  SimContent& content = *names_.extract(name).mapped();
  content.is_removed = true;
  content.length_is_dirty = !content.now.empty();
  content.now.clear();
  content.dirty.clear();
  content.unsaved.clear();
  return {};
}

Status SimDevice::do_sync_folder(SyncSite site) {
  std::scoped_lock lock(mutex_);
  SLUICE_CHECK(gone(generation_));
  ++syncs_[static_cast<size_t>(site)];
  bool in_part = false;
  if (!count_change(in_part) || chance(faults.folder_sync_error)) {
    return SLUICE_ERR(Errc::io_error, "cannot sync the folder");
  }
  if (left_out != site) {
    durable_names_ = names_;
  }
  return {};
}

Status SimDevice::read(SimContent& content, uint64_t offset, MutByteSpan out) {
  if (chance(faults.read_error) || offset + out.size() > unreadable_from) {
    ++failed_reads;
    return SLUICE_ERR(Errc::io_error, "the simulated device cannot read");
  }
  if (offset + out.size() > content.now.size()) {
    return SLUICE_ERR(content.is_removed ? Errc::not_found : Errc::truncated,
                      "the file ends at {}",
                      content.now.size());
  }
  const Bytes* from = &content.now;
  if (chance(faults.stale_read) && offset + out.size() <= content.durable.size()) {
    from = &content.durable;
  }
  if (chance(faults.misdirected_read)) {
    const Bytes& other = any_other(content).now;
    uint64_t at = prng_.below(other.size() / kBlockBytes + 1) * kBlockBytes;
    if (at + out.size() <= other.size()) {
      from = &other;
      offset = at;
    }
  }
  std::copy_n(from->begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
  bool is_next = flip_read_in != 0 && --flip_read_in == 0;
  if (is_next || chance(faults.flipped_read)) {
    out[prng_.below(out.size())] ^= static_cast<uint8_t>(1 << prng_.below(8));
  }
  return {};
}

void SimDevice::apply(SimContent& content, uint64_t offset, ByteSpan bytes) {
  if (offset + bytes.size() > content.now.size()) {
    content.now.resize(offset + bytes.size());
    content.length_is_dirty = true;
  }
  std::copy(bytes.begin(), bytes.end(), content.now.begin() + static_cast<ptrdiff_t>(offset));
  for (uint64_t at = 0; at < bytes.size(); at += kSectorBytes) {
    content.dirty.insert((offset + at) / kSectorBytes);
    content.unsaved.erase((offset + at) / kSectorBytes);
  }
}

// Some of the blocks only: those at the front, or any.
void SimDevice::apply_blocks(SimContent& content, uint64_t offset, ByteSpan bytes, bool prefix) {
  uint64_t blocks = bytes.size() / kBlockBytes;
  uint64_t front = prng_.below(blocks + 1);
  for (uint64_t i = 0; i < blocks; ++i) {
    if (prefix ? i < front : prng_.below(2) == 0) {
      apply(content, offset + i * kBlockBytes, bytes.subspan(i * kBlockBytes, kBlockBytes));
    }
  }
}

SimContent& SimDevice::any_other(SimContent& content) {
  if (names_.empty()) {
    return content;
  }
  return *std::next(names_.begin(), static_cast<ptrdiff_t>(prng_.below(names_.size())))->second;
}

Status SimDevice::write(SimContent& content, uint64_t offset, ByteSpan bytes) {
  bool in_part = false;
  if (!count_change(in_part)) {
    apply_blocks(content, offset, bytes, prng_.below(2) == 0);
    return SLUICE_ERR(Errc::io_error, "the simulated device went away during a write");
  }
  uint64_t grows = std::max<uint64_t>(offset + bytes.size(), content.now.size());
  if (grows > content.now.size() && total_bytes() - content.now.size() + grows > capacity_bytes) {
    apply_blocks(content, offset, bytes.first(bytes.size() / 2 / kBlockBytes * kBlockBytes), true);
    return SLUICE_ERR(Errc::no_space, "the simulated device is full");
  }
  if (fail_next_writes > 0 || chance(faults.write_error)) {
    fail_next_writes -= fail_next_writes > 0 ? 1 : 0;
    apply_blocks(content, offset, bytes, prng_.below(2) == 0);
    return SLUICE_ERR(Errc::io_error, "the simulated device cannot write");
  }
  if (chance(faults.lost_write)) {
    return {};
  }
  if (chance(faults.torn_write)) {
    apply_blocks(content, offset, bytes, prng_.below(2) == 0);
    return {};
  }
  if (chance(faults.misdirected_write)) {
    SimContent& other = any_other(content);
    uint64_t at = prng_.below(other.now.size() / kBlockBytes + 1) * kBlockBytes;
    uint64_t room = std::min<uint64_t>(bytes.size(), other.now.size() - at);
    if (&other != &content || at != offset) {
      apply(other, at, bytes.first(room));
    }
    return {};
  }
  apply(content, offset, bytes);
  if (chance(faults.flipped_write)) {
    content.now[offset + prng_.below(bytes.size())] ^= static_cast<uint8_t>(1 << prng_.below(8));
  }
  return {};
}

Status SimDevice::truncate(SimContent& content, uint64_t bytes) {
  bool in_part = false;
  if (!count_change(in_part) || chance(faults.cut_error)) {
    return SLUICE_ERR(Errc::io_error, "the simulated device cannot cut the file");
  }
  content.length_is_dirty = content.length_is_dirty || bytes != content.now.size();
  content.now.resize(bytes);
  for (std::set<uint64_t>* sectors : {&content.dirty, &content.unsaved}) {
    sectors->erase(sectors->lower_bound(bytes / kSectorBytes), sectors->end());
  }
  return {};
}

Status SimDevice::sync(SimContent& content, SyncSite site) {
  ++syncs_[static_cast<size_t>(site)];
  bool in_part = false;
  if (!count_change(in_part)) {
    // The process is gone, not the disk: what is dirty stays dirty.
    return SLUICE_ERR(Errc::io_error, "the simulated device went away during a sync");
  }
  if (chance(faults.sync_error)) {
    // Dirty pages are marked clean: some made it, the others never will. What is read now shows
    // that, or only what a power loss leaves.
    if (prng_.below(2) == 0) {
      lose_unsynced(content);
    } else {
      content.unsaved.insert(content.dirty.begin(), content.dirty.end());
    }
    content.dirty.clear();
    content.length_is_dirty = false;
    return SLUICE_ERR(Errc::io_error, "the simulated device cannot sync");
  }
  if (left_out == site) {
    return {};
  }
  content.durable.resize(content.length_is_dirty ? content.now.size() : content.durable.size());
  for (uint64_t sector : content.dirty) {
    uint64_t at = sector * kSectorBytes;
    if (at + kSectorBytes <= std::min(content.durable.size(), content.now.size())) {
      std::copy_n(content.now.begin() + static_cast<ptrdiff_t>(at),
                  kSectorBytes,
                  content.durable.begin() + static_cast<ptrdiff_t>(at));
    }
  }
  content.dirty.clear();
  content.length_is_dirty = false;
  return {};
}

// What a sector may hold whose write did not survive.
void SimDevice::fill_lost_sector(SimContent& content, MutByteSpan sector, uint64_t at) {
  std::fill(sector.begin(), sector.end(), uint8_t{0});
  if (at + sector.size() <= content.durable.size()) {
    std::copy_n(
        content.durable.begin() + static_cast<ptrdiff_t>(at), sector.size(), sector.begin());
    return;
  }
  uint64_t how = prng_.below(16);
  if (how == 0) {
    for (uint8_t& byte : sector) {
      byte = static_cast<uint8_t>(prng_.next());
    }
  }
  const Bytes& other = any_other(content).durable;
  uint64_t from = prng_.below(other.size() / kBlockBytes + 1) * kBlockBytes + at % kBlockBytes;
  if (how == 1 && from + sector.size() <= other.size()) {
    std::copy_n(other.begin() + static_cast<ptrdiff_t>(from), sector.size(), sector.begin());
  }
}

// `now` becomes what power loss leaves of it.
void SimDevice::lose_unsynced(SimContent& content) {
  uint64_t mode = prng_.below(4);  // all, none, a front part, any sectors
  bool new_length = content.length_is_dirty && (mode == 0 || prng_.below(4) != 0);
  Bytes left = content.now;
  uint64_t front = content.dirty.empty() ? 0 : prng_.below(content.dirty.size() + 1);
  uint64_t index = 0;
  for (uint64_t sector : content.dirty) {
    bool survives = mode == 0 || (mode == 2 && index < front) || (mode == 3 && prng_.below(2) == 0);
    uint64_t at = sector * kSectorBytes;
    if (!survives && at + kSectorBytes <= left.size()) {
      fill_lost_sector(content, MutByteSpan(left).subspan(at, kSectorBytes), at);
    }
    ++index;
  }
  if (!new_length && content.length_is_dirty) {
    uint64_t kept = std::min(content.durable.size(), left.size());
    left.resize(kept);
    left.insert(
        left.end(), content.durable.begin() + static_cast<ptrdiff_t>(kept), content.durable.end());
  }
  content.now = std::move(left);
}

void SimDevice::crash() {
  std::scoped_lock lock(mutex_);
  Names left;
  for (const auto& [name, content] : names_) {
    if (durable_names_.contains(name) || prng_.below(2) == 0) {
      left[name] = content;
    }
  }
  for (const auto& [name, content] : durable_names_) {
    if (!names_.contains(name) && prng_.below(2) == 0) {
      left[name] = content;
    }
  }
  for (auto& [name, content] : left) {
    content->dirty.merge(content->unsaved);
    content->length_is_dirty |= content->durable.size() != content->now.size();
    lose_unsynced(*content);
    content->durable = content->now;
    content->dirty.clear();
    content->unsaved.clear();
    content->length_is_dirty = false;
    content->is_removed = false;
  }
  names_ = left;
  durable_names_ = left;
  ++generation_;
  stopped_ = false;
  calls_left_.reset();
}

void SimDevice::kill() {
  std::scoped_lock lock(mutex_);
  ++generation_;
  stopped_ = false;
  calls_left_.reset();
}

}  // namespace sluice::store
