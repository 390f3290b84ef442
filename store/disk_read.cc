#include "store/disk_read.h"

#include <algorithm>

namespace sluice::store {

namespace {

// The head, if it is the one that was looked for.
Result<RecordHead> find_head(const ReadJob& job, ByteSpan extent) {
  SLUICE_TRY(RecordHead head, parse_head(extent, job.place));
  const LogEntry& found = head.entry;
  const auto rows = job.entry.rows.ends.begin();
  if (found.type != EntryType::page || found.sequence != job.entry.sequence ||
      found.tenant != job.entry.tenant || found.key != job.entry.key ||
      found.encoding_id != job.entry.encoding_id || found.head_bytes != job.entry.head_bytes ||
      !std::equal(rows, rows + job.entry.rows.count, found.rows.ends.begin())) {
    return SLUICE_ERR(Errc::bad_value,
                      "record head: key {} encoding {} sequence {:#x}, expected {} {} {:#x} with "
                      "the same rows",
                      to_hex(found.key),
                      to_hex(found.encoding_id),
                      found.sequence,
                      to_hex(job.entry.key),
                      to_hex(job.entry.encoding_id),
                      job.entry.sequence);
  }
  return head;
}

// Reads the blocks of the extent that hold these bytes of it, to where they belong.
Status read_blocks(const ReadJob& job, uint64_t begin, uint64_t end) {
  const uint64_t first = begin / kBlockBytes * kBlockBytes;
  MutByteSpan to = job.memory->bytes().subspan(first, round_up_to_block(end) - first);
  return job.file->read(job.place.offset + first, to);
}

// Where rows are wanted whole, one read brings them; else the head says first where the rest is.
Result<DiskPage> read_once(const ReadJob& job) {
  const uint64_t head_bytes = job.entry.head_bytes;
  const bool is_front = job.part == RecordPart::of_rows(job.entry.rows, job.part.rows);
  SLUICE_CHECK(
      read_blocks(job, 0, head_bytes + (is_front ? job.record_bytes() : job.entry.header_bytes)));
  ByteSpan extent = job.memory->bytes().first(job.memory_bytes());
  SLUICE_TRY(RecordHead head, find_head(job, extent));
  DiskPage page{.record = head.record()};
  page.record.shorten(job.part.rows);
  for (const SectionRun& run : job.part.runs) {
    if (!is_front && run.count != 0) {
      const uint64_t begin = page.record.section_begin(run.first);
      const uint64_t end = page.record.sections[run.first + run.count - 1].end;
      SLUICE_CHECK(read_blocks(job, head_bytes + begin, head_bytes + end));
    }
  }
  page.bytes = extent.subspan(head_bytes, job.record_bytes());
  SLUICE_CHECK(verify_runs(page.record, page.bytes, job.part.runs));
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
