#include "store/disk_read.h"

#include <algorithm>

namespace sluice::store {

namespace {

// Shortens a page to what a cut left of it. Errors: bad_value (no section ends there that says so).
Status apply_cut(Record& record, const LogEntry& entry) {
  auto last =
      std::find_if(record.sections.begin(), record.sections.end(), [&](const auto& section) {
        return section.end == entry.bytes && section.cut;
      });
  if (last == record.sections.end()) {
    return SLUICE_ERR(Errc::bad_value, "cut to {} bytes, where no section may end it", entry.bytes);
  }
  record.sections.erase(last + 1, record.sections.end());
  record.rows = entry.rows;
  record.quality_kl = entry.quality_kl;
  return {};
}

Result<DiskPage> read_once(const ReadJob& job) {
  MutByteSpan extent = job.memory->bytes().first(job.memory_bytes());
  SLUICE_CHECK(job.file->read(job.place.offset, extent));
  SLUICE_TRY(RecordHead head, parse_head(extent, job.place));
  if (head.entry.type != EntryType::page || head.entry.sequence != job.entry.sequence ||
      head.entry.tenant != job.entry.tenant || head.entry.key != job.entry.key ||
      head.entry.encoding_id != job.entry.encoding_id ||
      head.entry.head_bytes != job.entry.head_bytes) {
    return SLUICE_ERR(Errc::bad_value,
                      "record head: key {} encoding {} sequence {:#x}, expected {} {} {:#x}",
                      to_hex(head.entry.key),
                      to_hex(head.entry.encoding_id),
                      head.entry.sequence,
                      to_hex(job.entry.key),
                      to_hex(job.entry.encoding_id),
                      job.entry.sequence);
  }
  DiskPage page{.record = head.record()};
  if (job.is_cut) {
    SLUICE_CHECK(apply_cut(page.record, job.entry));
  }
  page.bytes = ByteSpan(extent).subspan(head.entry.head_bytes, job.entry.bytes);
  SLUICE_CHECK(verify(page.record, page.bytes));
  page.keep_alive = job.memory;
  return page;
}

}  // namespace

void read_page(ReadJob& job) {
  job.page = read_once(job);
  if (job.page.has_error()) {
    job.page = read_once(job);  // damage on the way is gone the second time
  }
  if (job.page.has_value() || job.page.error().code == Errc::io_error) {
    return;
  }
  if (job.page.error().code == Errc::not_found) {
    job.page = SLUICE_ERR(
        Errc::not_found, "page {} went with its segment, to make room", to_hex(job.entry.key));
  } else {
    job.page = SLUICE_ERR(Errc::damaged,
                          "segment {:016x} offset {}: {}",
                          job.place.segment,
                          job.place.offset,
                          job.page.error().to_string());
  }
}

}  // namespace sluice::store
