// Real threads: order within lanes, and a disk tier over them on a real folder.
#include "store/io_threads.h"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "src/base/mailbox.h"
#include "store/disk_tier.h"
#include "store/posix_device.h"
#include "tests/store/log_fixture.h"
#include "tests/support/temp_folder.h"

namespace sluice::store {
namespace {

constexpr uint64_t kWaitMs = 60'000;

IoThreads::Post post_to(Mailbox& owner) {
  return [&owner](std::function<void()> done) { owner.post(std::move(done)); };
}

TEST(IoThreads, PrepareAndWriteKeepTheirOrderAndReadsAllCome) {
  Mailbox owner;
  std::vector<int> worked[2];
  std::vector<int> done[2];
  int reads = 0;
  {
    IoThreads threads(post_to(owner), 3);
    for (int i = 0; i < 200; ++i) {
      for (Lane lane : {Lane::prepare, Lane::write}) {
        auto at = static_cast<size_t>(lane);
        threads.run(
            lane, [&, at, i] { worked[at].push_back(i); }, [&, at, i] { done[at].push_back(i); });
      }
      threads.run(
          Lane::read, [] {}, [&] { ++reads; });
    }
    ASSERT_TRUE(owner.run_until(
        [&] { return done[0].size() + done[1].size() + size_t(reads) == 600; }, kWaitMs));
  }
  EXPECT_TRUE(std::is_sorted(worked[0].begin(), worked[0].end()));
  EXPECT_TRUE(std::is_sorted(worked[1].begin(), worked[1].end()));
  EXPECT_EQ(done[0], worked[0]);
  EXPECT_EQ(done[1], worked[1]);
}

TEST(IoThreads, EndsWithWorkThatStillWaits) {
  Mailbox owner;
  auto kept = std::make_shared<int>(1);
  std::mutex gate;
  gate.lock();
  {
    IoThreads threads(post_to(owner), 1);
    threads.run(
        Lane::write, [&] { std::scoped_lock lock(gate); }, [] {});
    for (int i = 0; i < 10; ++i) {
      threads.run(
          Lane::write, [kept] {}, [kept] {});
    }
    gate.unlock();
  }
  owner.run_all();
  EXPECT_EQ(kept.use_count(), 1);
}

TEST(IoThreads, ADiskTierOverThemKeepsPagesAcrossRestarts) {
  testing::TempFolder folder;
  constexpr uint64_t kPages = 300;
  SteadyClock clock;
  DiskTierConfig config;
  config.segment_bytes = 1 << 20;
  config.capacity_bytes = 64 << 20;
  for (int process = 0; process < 2; ++process) {
    auto device = *PosixDevice::open_folder({.folder = folder.path()});
    Mailbox owner;
    auto threads = std::make_unique<IoThreads>(post_to(owner), 2);
    auto tier = *DiskTier::open(config, *device, *threads, clock);
    EXPECT_EQ(tier->recovery().records, process == 0 ? 0 : kPages);
    uint64_t acks = 0;
    for (uint64_t i = 0; i < kPages && process == 0; ++i) {
      auto page = std::make_shared<Sample>(page_of(i));
      DiskWrite write{.record = page->record,
                      .bytes = page->bytes,
                      .keep_alive = page,
                      .want_durable = i % 2 == 0};
      ASSERT_TRUE(tier->write(std::move(write), [&](Status status) { acks += status.has_value(); })
                      .has_value());
    }
    ASSERT_TRUE(owner.run_until([&] { return process != 0 || acks == kPages; }, kWaitMs));
    uint64_t good = 0;
    uint64_t reads = 0;
    for (uint64_t i = 0; i < kPages; ++i) {
      auto compare = [&, i](Result<DiskPage> page) {
        ++reads;
        good += page.has_value() && std::ranges::equal(page->bytes, page_of(i).bytes);
      };
      ASSERT_TRUE(tier->read(0, key_of(i), compare).has_value());
      ASSERT_TRUE(owner.run_until([&] { return reads > i; }, kWaitMs));
    }
    EXPECT_EQ(good, kPages);
    tier.reset();
    threads.reset();
  }
}

}  // namespace
}  // namespace sluice::store
