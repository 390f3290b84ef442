#include "store/disk_index.h"

namespace sluice::store {

void DiskIndex::add_segment(uint64_t number, std::shared_ptr<BlockFile> file) {
  IndexSegment& segment = segments_[number];
  segment.number = number;
  segment.file = std::move(file);
}

uint64_t DiskIndex::drop_segment(uint64_t number) {
  auto found = segments_.find(number);
  if (found == segments_.end()) {
    return 0;
  }
  uint64_t pages = 0;
  while (const IndexEntry* entry = found->second.first) {
    erase(entry->log.tenant, Key(entry->log.key));
    ++pages;
  }
  segments_.erase(found);
  return pages;
}

uint64_t DiskIndex::fail_segment(uint64_t number, uint64_t durable_sequence) {
  auto found = segments_.find(number);
  if (found == segments_.end()) {
    return 0;
  }
  found->second.has_failed = true;
  found->second.durable_sequence = durable_sequence;
  uint64_t pages = 0;
  for (const IndexEntry* entry = found->second.first; entry != nullptr;) {
    const IndexEntry* next = entry->next;
    if (entry->log.sequence > durable_sequence) {
      lose(entry->log.tenant, Key(entry->log.key), durable_sequence);
      ++pages;
    }
    entry = next;
  }
  return pages;
}

void DiskIndex::mark_not_durable(uint64_t number) {
  if (auto found = segments_.find(number); found != segments_.end()) {
    found->second.has_failed = true;
    found->second.durable_sequence = 0;
  }
}

void DiskIndex::link(IndexEntry& entry, IndexSegment& segment) {
  entry.segment = &segment;
  entry.previous = nullptr;
  entry.next = segment.first;
  if (entry.next != nullptr) {
    entry.next->previous = &entry;
  }
  segment.first = &entry;
}

void DiskIndex::unlink(IndexEntry& entry) {
  (entry.previous != nullptr ? entry.previous->next : entry.segment->first) = entry.next;
  if (entry.next != nullptr) {
    entry.next->previous = entry.previous;
  }
}

void DiskIndex::put(const RecordId& id, const LogEntry& page) {
  auto segment = segments_.find(page.sequence >> kOrdinalBits);
  SLUICE_ASSERT(segment != segments_.end());
  IndexEntry& entry = entries_[id];
  entry.log = page;
  page_bytes_ += page.bytes;
  link(entry, segment->second);
}

void DiskIndex::take_out(const RecordId& id) {
  auto found = entries_.find(id);
  unlink(found->second);
  page_bytes_ -= found->second.log.bytes;
  entries_.erase(found);
}

void DiskIndex::insert(const LogEntry& page, uint64_t durable_sequence) {
  SLUICE_ASSERT(page.type == EntryType::page);
  RecordId id = {page.tenant, page.key};
  if (page.sequence <= durable_sequence) {
    replaced_.erase(id);
  }
  auto found = entries_.find(id);
  if (found != entries_.end()) {
    const IndexEntry& old = found->second;
    SLUICE_ASSERT(old.log.sequence < page.sequence);
    if (page.sequence > durable_sequence && is_durable(old, durable_sequence)) {
      replaced_[id] = old.log;
    }
    take_out(id);
  }
  put(id, page);
}

bool DiskIndex::cut(const LogEntry& cut) {
  auto found = entries_.find({cut.tenant, cut.key});
  if (found == entries_.end()) {
    return false;
  }
  IndexEntry& entry = found->second;
  const uint32_t rows = cut.rows.count;
  if (entry.log.encoding_id != cut.encoding_id || rows == 0 || rows >= entry.log.rows.count ||
      entry.log.rows.ends[rows - 1].end != cut.bytes) {
    return false;
  }
  page_bytes_ -= entry.log.bytes - cut.bytes;
  entry.log.shorten(rows);
  return true;
}

void DiskIndex::lose(uint32_t tenant, const Key& key, uint64_t durable_sequence) {
  RecordId id = {tenant, key};
  const bool was_durable = is_durable(entries_.at(id), durable_sequence);
  take_out(id);
  auto replaced = replaced_.find(id);
  if (replaced == replaced_.end()) {
    return;
  }
  if (!was_durable && segments_.contains(replaced->second.sequence >> kOrdinalBits)) {
    put(id, replaced->second);
  }
  replaced_.erase(replaced);
}

bool DiskIndex::erase(uint32_t tenant, const Key& key) {
  RecordId id = {tenant, key};
  replaced_.erase(id);
  if (!entries_.contains(id)) {
    return false;
  }
  take_out(id);
  return true;
}

bool DiskIndex::erase_record(uint32_t tenant, const Key& key, uint64_t sequence) {
  const IndexEntry* entry = find(tenant, key);
  return entry != nullptr && entry->log.sequence == sequence && erase(tenant, key);
}

const IndexEntry* DiskIndex::find(uint32_t tenant, const Key& key) const {
  auto found = entries_.find({tenant, key});
  return found == entries_.end() ? nullptr : &found->second;
}

}  // namespace sluice::store
