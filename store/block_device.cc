#include "store/block_device.h"

#include <cstdlib>

namespace sluice::store {

namespace {

bool aligned(uint64_t value) {
  return value % kBlockBytes == 0;
}

bool aligned(const void* memory) {
  return aligned(reinterpret_cast<uintptr_t>(memory));
}

template <class T>
T counted(DeviceCounters& counters, T result) {
  if (result.has_error()) {
    ++counters.errors;
  }
  return result;
}

}  // namespace

std::string_view sync_site_name(SyncSite site) {
  constexpr std::array<std::string_view, kSyncSites> kNames = {
      "commit", "seal", "segment_name", "segment_drop", "recovered_segment", "recovered_folder"};
  return kNames[static_cast<size_t>(site)];
}

DeviceStats DeviceCounters::snapshot() const {
  return {.reads = reads,
          .read_bytes = read_bytes,
          .writes = writes,
          .written_bytes = written_bytes,
          .syncs = syncs,
          .errors = errors};
}

Status BlockFile::read(uint64_t offset, MutByteSpan out) {
  SLUICE_ASSERT(aligned(offset) && aligned(out.size()) && aligned(out.data()));
  ++counters_->reads;
  counters_->read_bytes += out.size();
  return counted(*counters_, do_read(offset, out));
}

Status BlockFile::write(uint64_t offset, ByteSpan bytes) {
  SLUICE_ASSERT(aligned(offset) && aligned(bytes.size()) && aligned(bytes.data()));
  ++counters_->writes;
  counters_->written_bytes += bytes.size();
  return counted(*counters_, do_write(offset, bytes));
}

Status BlockFile::sync(SyncSite site) {
  ++counters_->syncs;
  return counted(*counters_, do_sync(site));
}

Status BlockFile::truncate(uint64_t bytes) {
  SLUICE_ASSERT(aligned(bytes));
  return counted(*counters_, do_truncate(bytes));
}

Result<uint64_t> BlockFile::size() {
  return counted(*counters_, do_size());
}

Result<std::shared_ptr<BlockFile>> BlockDevice::create(const std::string& name) {
  return counted(*counters_, do_create(name));
}

Result<std::shared_ptr<BlockFile>> BlockDevice::open(const std::string& name) {
  return counted(*counters_, do_open(name));
}

Result<std::vector<std::string>> BlockDevice::list() {
  return counted(*counters_, do_list());
}

Status BlockDevice::remove(const std::string& name) {
  return counted(*counters_, do_remove(name));
}

Status BlockDevice::sync_folder(SyncSite site) {
  ++counters_->syncs;
  return counted(*counters_, do_sync_folder(site));
}

void AlignedBuffer::Free::operator()(uint8_t* memory) const {
  std::free(memory);
}

AlignedBuffer::AlignedBuffer(uint64_t bytes) : size_(round_up_to_block(bytes)) {
  memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, size_)));
  SLUICE_ASSERT(size_ == 0 || memory_ != nullptr);
}

}  // namespace sluice::store
