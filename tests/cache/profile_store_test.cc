// Profiles in pieces: who sends what of them, what is kept, and which go.
#include "src/cache/profile_store.h"

#include <gtest/gtest.h>

namespace sluice::cache {
namespace {

Bytes file_of(uint8_t byte) {
  return Bytes(1000, byte);
}

class ProfileStoreTest : public ::testing::Test {
 protected:
  Result<uint32_t> put(const Bytes& file, uint32_t offset, uint32_t end) {
    return put_as(sha256(file), file, offset, end);
  }

  Result<uint32_t> put_as(const Hash32& digest, const Bytes& file, uint32_t offset, uint32_t end) {
    Result<uint32_t> answer = SLUICE_ERR(Errc::timed_out, "no answer");
    store_.put_piece(digest,
                     static_cast<uint32_t>(file.size()),
                     offset,
                     ByteSpan(file).subspan(offset, end - offset),
                     [&](Result<uint32_t> there) { answer = std::move(there); });
    return answer;
  }

  Bytes a_ = file_of(1);
  Bytes b_ = file_of(2);
  Bytes c_ = file_of(3);
  uint32_t size_ = static_cast<uint32_t>(a_.size());
  std::vector<Hash32> forgotten_;
  std::vector<std::function<void(Status)>> keeping_;
  ProfileStore store_{{.bytes_max = 2 * a_.size(),
                       .begun_bytes_max = 2 * a_.size(),
                       .forget = [this](const Hash32& digest) { forgotten_.push_back(digest); }}};
};

TEST_F(ProfileStoreTest, AFileIsThereWhenItsLastPieceIs) {
  EXPECT_EQ(*put(a_, 0, 0), 0u);
  EXPECT_EQ(store_.stats().profiles, 0u);
  EXPECT_EQ(*put(a_, 0, 10), 10u);
  EXPECT_EQ(*put(a_, 0, 4), 10u) << "was there already";
  EXPECT_EQ(*put(a_, 12, 14), 10u) << "leaves a gap";
  EXPECT_EQ(*put(a_, 10, size_ - 1), size_ - 1);
  EXPECT_EQ(store_.find(sha256(a_)), nullptr);
  EXPECT_EQ(*put(a_, size_ - 1, size_), size_);
  ASSERT_NE(store_.find(sha256(a_)), nullptr);
  EXPECT_EQ(*store_.find(sha256(a_)), a_);
  EXPECT_EQ(*put(a_, 0, 0), size_) << "nothing is wanted any more";
  EXPECT_EQ(store_.stats().profiles, 1u);
  EXPECT_EQ(store_.stats().bytes, size_);
}

TEST_F(ProfileStoreTest, WhatHasAnotherDigestLeavesNothing) {
  EXPECT_EQ(put_as(sha256(b_), a_, 0, size_).error().code, Errc::bad_checksum);
  EXPECT_EQ(store_.stats().bytes, 0u);
}

TEST_F(ProfileStoreTest, WhoeverSaysAnotherLengthBeginsAnew) {
  EXPECT_EQ(*put_as(sha256(a_), Bytes(500, 7), 0, 100), 100u);
  EXPECT_EQ(*put(a_, 0, size_), size_);
  EXPECT_EQ(put_as(sha256(a_), Bytes(500, 7), 0, 100).error().code, Errc::bad_value);
  EXPECT_EQ(*store_.find(sha256(a_)), a_);
  EXPECT_EQ(store_.stats().bytes, size_);
}

TEST_F(ProfileStoreTest, TheOneThatWasNotUsedForLongestGoes) {
  EXPECT_TRUE(store_.add(sha256(a_), a_).has_value());
  EXPECT_TRUE(store_.add(sha256(b_), b_).has_value());
  EXPECT_NE(store_.find(sha256(a_)), nullptr);
  EXPECT_EQ(*put(c_, 0, 10), 10u);
  EXPECT_TRUE(forgotten_.empty()) << "for a file that may never end";
  EXPECT_EQ(*put(c_, 10, size_), size_);
  EXPECT_EQ(forgotten_, std::vector<Hash32>{sha256(b_)});
  EXPECT_NE(store_.find(sha256(a_)), nullptr);
  EXPECT_EQ(store_.find(sha256(b_)), nullptr);
  EXPECT_EQ(store_.stats().bytes, 2 * size_);
  const Bytes large(2 * size_ + 1, 7);
  EXPECT_EQ(put(large, 0, 10).error().code, Errc::no_space);
  EXPECT_EQ(store_.stats().profiles, 2u);
  EXPECT_EQ(store_.stats().forgotten, 1u);
}

TEST_F(ProfileStoreTest, BegunFilesDoNotGrowTheTableWithoutEndAndCostNoWholeOne) {
  EXPECT_TRUE(store_.add(sha256(a_), a_).has_value());
  for (uint32_t i = 0; i < 5000; ++i) {
    Bytes begun(100, 7);
    store_le(begun.data(), i);
    EXPECT_EQ(*put(begun, 0, 1), 1u);
  }
  EXPECT_LE(store_.stats().bytes, size_ + 1025u);
  const Bytes large(2 * size_, 9);
  for (const uint32_t end : {size_, 2 * size_ - 1}) {
    EXPECT_EQ(*put(large, end == size_ ? 0 : size_, end), end);
  }
  EXPECT_EQ(*put(b_, 0, size_ / 2), size_ / 2);
  EXPECT_EQ(*put(large, 0, 0), 0u) << "had to go: begun files have a bound of their own";
  EXPECT_NE(store_.find(sha256(a_)), nullptr);
}

TEST_F(ProfileStoreTest, TheLastPieceIsAnsweredWhenTheFileIsKept) {
  ProfileStore kept({.keep = [this](const Hash32&, ProfileFile, std::function<void(Status)> done) {
    keeping_.push_back(std::move(done));
  }});
  const Hash32 digest = sha256(a_);
  std::vector<Result<uint32_t>> answers;
  const auto note = [&](Result<uint32_t> there) { answers.push_back(std::move(there)); };
  for (const bool works : {false, true}) {
    answers.clear();
    kept.put_piece(digest, size_, 0, a_, note);
    kept.put_piece(digest, size_, 0, {}, note);  // somebody else asks meanwhile
    EXPECT_EQ(answers.size(), 0u);
    EXPECT_EQ(kept.find(digest), nullptr);
    ASSERT_EQ(keeping_.size(), 1u);
    keeping_.back()(works ? Status() : Status(SLUICE_ERR(Errc::io_error, "no")));
    keeping_.clear();
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers[0].has_value(), works);
    EXPECT_EQ(answers[1].has_value(), works);
    EXPECT_EQ(kept.find(digest) != nullptr, works);
  }
  EXPECT_EQ(*answers[1], size_);
}

TEST_F(ProfileStoreTest, FilesOnTheirWayToDiskDoNotGo) {
  ProfileStore kept({.bytes_max = 2 * a_.size(),
                     .keep = [this](const Hash32&, ProfileFile, std::function<void(Status)> done) {
                       keeping_.push_back(std::move(done));
                     }});
  std::vector<Result<uint32_t>> answers;
  const auto note = [&](Result<uint32_t> there) { answers.push_back(std::move(there)); };
  for (const Bytes& file : {a_, b_, c_}) {
    kept.put_piece(sha256(file), size_, 0, file, note);
  }
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error().code, Errc::no_space);
  for (const auto& done : keeping_) {
    done(Status());
  }
  kept.put_piece(sha256(c_), size_, 0, c_, note);
  EXPECT_EQ(kept.find(sha256(a_)), nullptr);
}

}  // namespace
}  // namespace sluice::cache
