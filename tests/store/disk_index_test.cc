// What the index of the disk tier takes of memory. Its rules are tested through the tier.
#include "store/disk_index.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include "tests/store/sample_record.h"

namespace sluice::store {
namespace {

TEST(DiskIndex, TakesFewBytesAPage) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "ASan has its own heap";
#else
  constexpr uint64_t kPages = 100'000;
  const size_t before = mallinfo2().uordblks;
  DiskIndex index;
  index.add_segment(1, nullptr);
  for (uint64_t i = 0; i < kPages; ++i) {
    LogEntry page{.type = EntryType::page, .bytes = 1 << 20, .key = key_of(i)};
    page.sequence = sequence_of(1, i);
    index.insert(page, page.sequence);
  }
  const size_t bytes = (mallinfo2().uordblks - before) / kPages;
  RecordProperty("bytes_a_page", static_cast<int>(bytes));
  EXPECT_LE(bytes, 320u);
  EXPECT_EQ(index.records(), kPages);
#endif
}

}  // namespace
}  // namespace sluice::store
