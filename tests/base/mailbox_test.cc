#include "src/base/mailbox.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace sluice {
namespace {

TEST(Mailbox, RunsWhatWasPostedInOrder) {
  Mailbox mailbox;
  std::vector<int> ran;
  for (int i = 0; i < 3; ++i) {
    mailbox.post([&ran, i] { ran.push_back(i); });
  }
  EXPECT_TRUE(ran.empty());
  mailbox.run_all();
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 2}));
  mailbox.run_all();
  EXPECT_EQ(ran.size(), 3u);
}

TEST(Mailbox, WakesItsOwnerForEachPost) {
  Mailbox mailbox;
  int woken = 0;
  mailbox.post([] {});
  mailbox.set_wake([&woken] { ++woken; });
  mailbox.post([] {});
  mailbox.post([] {});
  mailbox.set_wake({});
  mailbox.post([] {});
  EXPECT_EQ(woken, 2);
}

TEST(Mailbox, WaitsForWorkOfOtherThreads) {
  Mailbox mailbox;
  bool done = false;
  std::thread other([&] { mailbox.post([&] { mailbox.post([&done] { done = true; }); }); });
  EXPECT_TRUE(mailbox.run_until([&done] { return done; }, 10'000));
  other.join();
}

TEST(Mailbox, DoesNotWaitForEver) {
  Mailbox mailbox;
  EXPECT_FALSE(mailbox.run_until([] { return false; }, 20));
  EXPECT_TRUE(mailbox.run_until([] { return true; }, 0));
}

}  // namespace
}  // namespace sluice
