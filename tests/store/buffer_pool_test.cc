// Which buffers are used again.
#include "store/buffer_pool.h"

#include <gtest/gtest.h>

namespace sluice::store {
namespace {

TEST(BufferPool, CountsWhatIsTakenUntilItIsDropped) {
  auto pool = std::make_shared<BufferPool>(1 << 20);
  auto first = pool->take(1 << 16);
  auto second = pool->take(1 << 12);
  EXPECT_EQ(pool->taken_bytes(), first->size() + second->size());
  first.reset();
  EXPECT_EQ(pool->taken_bytes(), second->size());
  pool.reset();
  second.reset();  // after the pool
}

TEST(BufferPool, TakesTheSameMemoryAgain) {
  auto pool = std::make_shared<BufferPool>(1 << 20);
  auto first = pool->take(1 << 16);
  const uint8_t* memory = first->bytes().data();
  first.reset();
  EXPECT_EQ(pool->take(1 << 16)->bytes().data(), memory);
}

// A model goes, another one with longer pages comes.
TEST(BufferPool, SizesThatNobodyAsksForMakeRoom) {
  auto pool = std::make_shared<BufferPool>(256 << 10);
  {
    auto a = pool->take(128 << 10);
    auto b = pool->take(128 << 10);
  }
  auto longer = pool->take(200 << 10);
  const uint8_t* memory = longer->bytes().data();
  auto other = pool->take(32 << 10);
  longer.reset();
  EXPECT_EQ(pool->take(200 << 10)->bytes().data(), memory);
}

}  // namespace
}  // namespace sluice::store
