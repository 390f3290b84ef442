#include "src/daemon/disk.h"

#include <gtest/gtest.h>

namespace sluice::daemon {
namespace {

constexpr uint64_t kGiB = 1ull << 30;

TEST(DiskCapacity, IsHalfOfTheRoomWhereNobodySaysHowMuch) {
  EXPECT_EQ(*choose_disk_capacity(0, 40 * kGiB, 0), 20 * kGiB);
  EXPECT_EQ(*choose_disk_capacity(0, 30 * kGiB, 10 * kGiB), 20 * kGiB);
  EXPECT_EQ(*choose_disk_capacity(0, 10'000 * kGiB, 0), 64 * kGiB);
}

TEST(DiskCapacity, IsRefusedWhereTheFileSystemCannotHoldIt) {
  EXPECT_EQ(*choose_disk_capacity(50 * kGiB, 30 * kGiB, 20 * kGiB), 50 * kGiB);
  auto refused = choose_disk_capacity(51 * kGiB, 30 * kGiB, 20 * kGiB);
  ASSERT_EQ(refused.error().code, Errc::bad_config);
  EXPECT_NE(refused.error().text.find("disk.capacity of 51 GiB"), std::string::npos)
      << refused.error().text;
  EXPECT_EQ(choose_disk_capacity(0, 100 << 20, 0).error().code, Errc::bad_config);
}

}  // namespace
}  // namespace sluice::daemon
