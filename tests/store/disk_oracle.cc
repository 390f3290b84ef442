#include "tests/store/disk_oracle.h"

#include <algorithm>

namespace sluice::store {

uint64_t DiskOracle::put(const Id& id, std::shared_ptr<Sample> sample) {
  histories_[id].versions.push_back({.ticket = next_ticket_, .sample = std::move(sample)});
  return next_ticket_++;
}

uint64_t DiskOracle::erase(const Id& id) {
  histories_[id].issued_erase = next_ticket_;
  return next_ticket_++;
}

void DiskOracle::cut(const Id& id, uint64_t ticket, uint64_t bytes) {
  for (Version& version : histories_[id].versions) {
    if (version.ticket == ticket) {
      version.cuts_issued.insert(bytes);
    }
  }
}

void DiskOracle::put_is_durable(const Id& id, uint64_t ticket) {
  histories_[id].durable_put = std::max(histories_[id].durable_put, ticket);
}

void DiskOracle::erase_is_durable(const Id& id, uint64_t ticket) {
  histories_[id].durable_erase = std::max(histories_[id].durable_erase, ticket);
}

void DiskOracle::cut_is_durable(const Id& id, uint64_t ticket, uint64_t bytes) {
  for (Version& version : histories_[id].versions) {
    if (version.ticket == ticket) {
      version.cut_durable = std::min(version.cut_durable.value_or(bytes), bytes);
    }
  }
}

const DiskOracle::History* DiskOracle::history(const Id& id) const {
  auto found = histories_.find(id);
  return found == histories_.end() ? nullptr : &found->second;
}

const Version* DiskOracle::version_of(const Id& id, const EncodingId& encoding_id) const {
  const History* past = history(id);
  if (past == nullptr) {
    return nullptr;
  }
  auto found = std::find_if(past->versions.rbegin(), past->versions.rend(), [&](const auto& v) {
    return v.sample->record.encoding_id == encoding_id;
  });
  return found == past->versions.rend() ? nullptr : &*found;
}

void DiskOracle::shown_after_restart(const Id& id, const std::optional<DiskEntry>& entry) {
  if (const Version* version = entry ? version_of(id, entry->record.encoding_id) : nullptr) {
    put_is_durable(id, version->ticket);
    if (entry->bytes != version->sample->bytes.size()) {
      cut_is_durable(id, version->ticket, entry->bytes);
    }
  }
}

std::optional<std::string> DiskOracle::check(const Id& id,
                                             const std::optional<DiskEntry>& entry) const {
  if (!entry) {
    return {};  // see check_missing
  }
  const History* past = history(id);
  const Version* version = version_of(id, entry->record.encoding_id);
  if (version == nullptr) {
    return "a page shows that was never put";
  }
  uint64_t whole = version->sample->bytes.size();
  if (entry->bytes != whole && !version->cuts_issued.contains(entry->bytes)) {
    return fmt::format(
        "a page of {} bytes shows with {}, nobody cut it there", whole, entry->bytes);
  }
  if (version->cut_durable && entry->bytes > *version->cut_durable) {
    return fmt::format("{} bytes show, durably cut to {}", entry->bytes, *version->cut_durable);
  }
  if (version->ticket < past->durable_put) {
    return fmt::format("put {} shows, put {} was durable", version->ticket, past->durable_put);
  }
  if (version->ticket < past->durable_erase) {
    return fmt::format("put {} shows, erase {} was durable", version->ticket, past->durable_erase);
  }
  if (past->issued_erase >= process_starts_at_ && version->ticket < past->issued_erase) {
    return fmt::format("put {} shows, erase {} was issued", version->ticket, past->issued_erase);
  }
  return {};
}

std::optional<std::string> DiskOracle::check_bytes(const Id& id, const DiskPage& page) const {
  const Version* version = version_of(id, page.record.encoding_id);
  if (version == nullptr || page.record.key != id.second || page.record.tenant != id.first) {
    return "a page was read that was never put";
  }
  const Sample& sample = *version->sample;
  bool is_cut = version->cuts_issued.contains(page.bytes.size());
  if (page.bytes.size() != sample.bytes.size() && !is_cut) {
    return "a page was read that was cut by nobody";
  }
  if (!std::equal(page.bytes.begin(), page.bytes.end(), sample.bytes.begin())) {
    return "other bytes were read than were put";
  }
  if (!is_cut && !(page.record == sample.record)) {
    return "another record was read than was put";
  }
  return {};
}

std::optional<std::string> DiskOracle::check_missing(
    const std::map<Id, std::optional<DiskEntry>>& shown) const {
  uint64_t oldest_shown = ~0ull;
  for (const auto& [id, entry] : shown) {
    const Version* version = entry ? version_of(id, entry->record.encoding_id) : nullptr;
    oldest_shown = std::min<uint64_t>(oldest_shown, version != nullptr ? version->ticket : ~0ull);
  }
  for (const auto& [id, entry] : shown) {
    const History* past = history(id);
    if (entry || past == nullptr || past->durable_put == 0 ||
        past->durable_put < past->issued_erase) {
      continue;
    }
    if (!may_evict || oldest_shown < past->durable_put) {
      return fmt::format("key {} put {} was durable and is missing",
                         to_hex(ByteSpan(id.second).first(4)),
                         past->durable_put);
    }
  }
  return {};
}

}  // namespace sluice::store
